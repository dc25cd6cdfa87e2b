"""What the driver does with receipts: each image counts once, and what was written aside is committed in shards."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.flow.stages import Executor
from jobs.output.aside import Taken, put_together
from jobs.output.identity import NumberSet
from jobs.output.index import Index
from jobs.output.runs import Tally
from jobs.output.writer import ShardWriter
from tlg import store
from tlg.errors import StorageError, TooManyErrors

# Early answers are safe within seconds; a long run still makes few files.
FIRST_COMMIT_SECONDS = 2.0
LONGEST_COMMIT_SECONDS = 60.0
COMMIT_GROWTH = 1.5
ROWS_PER_COMMIT = 100_000
BYTES_PER_COMMIT = 128 * 2**20
# Error rates are judged as if at least so many images (or all, if fewer) had been tried.
FEWEST_IMAGES_JUDGED = 1000
SLOWEST_KEPT = 20
STAGES = ("fetch", "decode", "segment")


class Receiver:
    """Takes receipts as they arrive, each image once, and commits their rows in ever larger shards."""

    def __init__(self, images: int, aside: str, executor: Executor, tally: Tally, writer: ShardWriter):
        self.received = np.zeros(images, bool)
        self.deferred: list[str] = []
        self._aside, self._executor, self._tally, self._writer = aside, executor, tally, writer
        self._waiting: list[Taken] = []
        self._images = self._rows = self._bytes = 0
        self._interval = FIRST_COMMIT_SECONDS
        self._committed_at = time.monotonic()

    def take(self, receipts: pa.Table) -> None:
        """A task that Ray repeats gives its receipts again; the rows that came first are taken."""
        positions = receipts["position"].to_numpy()
        is_new = np.zeros(len(positions), bool)
        is_new[np.unique(positions, return_index=True)[1]] = True
        is_new &= ~self.received[positions]
        if not is_new.any():
            return
        receipts = receipts.filter(pa.array(is_new))
        self.received[receipts["position"].to_numpy()] = True
        self._count(receipts)
        answered = receipts.filter(pc.invert(receipts["deferred"]))
        numbers, names = answered["number"].to_numpy(), np.asarray(answered["aside"].to_pylist(), object)
        for name in dict.fromkeys(names.tolist()):
            of_file = np.sort(numbers[names == name])
            together = answered["together"][int(np.argmax(names == name))].as_py()
            self._waiting.append(Taken(f"{self._aside}/{name}", of_file, len(of_file) == together))
        self._images += len(answered)
        self._rows += pc.sum(answered["rows"]).as_py() or 0
        self._bytes += pc.sum(answered["bytes"]).as_py() or 0
        is_due = time.monotonic() - self._committed_at >= self._interval
        if is_due or self._rows >= ROWS_PER_COMMIT or self._bytes >= BYTES_PER_COMMIT:
            self.commit()
            self._interval = min(LONGEST_COMMIT_SECONDS, self._interval * COMMIT_GROWTH)

    def commit(self) -> None:
        summary = self._tally.summary
        if self._waiting:
            summary.rows += self._writer.commit(AsideRows(self._waiting, self._executor))
            summary.shards += 1
            summary.done += self._images
        self._waiting, self._images, self._rows, self._bytes = [], 0, 0, 0
        self._committed_at = time.monotonic()

    def judge(self, rate: float) -> None:
        """Whether so many images fail that the run had better stop."""
        summary = self._tally.summary
        tried = int(np.count_nonzero(self.received))
        allowed = rate * max(tried, min(summary.images, FEWEST_IMAGES_JUDGED))
        if summary.errors > allowed:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.error_types.items())
            raise TooManyErrors(
                f"{summary.errors:,} of {tried:,} images failed ({kinds}), more than run.max_error_rate {rate:g} "
                f"allows; see {summary.output}/quarantine, then mend the images or raise the rate"
            )
        if summary.deferred > max(allowed, 10):
            raise StorageError(
                f"{summary.deferred:,} of {tried:,} images could not be fetched although each was tried for minutes; "
                "what is committed stays, run again when the store answers",
                transient=True,
            )

    def _count(self, receipts: pa.Table) -> None:
        summary = self._tally.summary
        deferred_uris = receipts.filter(receipts["deferred"])["uri"].to_pylist()
        self.deferred += deferred_uris
        summary.deferred += len(deferred_uris)
        answered = receipts.filter(pc.invert(receipts["deferred"]))
        statuses = {name: pc.sum(answered[column]).as_py() or 0 for name, column in COUNTED.items()}
        error_types = answered["error_type"].drop_null().to_pylist()
        seconds = {name: receipts[f"{name}_seconds"].to_numpy() for name in STAGES}
        self._tally.add(
            statuses | {"error": len(error_types)},
            error_types,
            {name: float(spent.sum()) for name, spent in seconds.items()},
        )
        total = np.sum(list(seconds.values()), axis=0)
        slow = np.argsort(total)[-SLOWEST_KEPT:].tolist()
        found = [(round(float(total[place]), 3), receipts["uri"][place].as_py()) for place in slow]
        summary.slowest = heapq.nlargest(SLOWEST_KEPT, [*summary.slowest, *found])


COUNTED = {"mask": "masks", "absent": "absent"}


@dataclass(frozen=True)
class AsideRows:
    """See `jobs.output.writer.Rows`: rows that lie aside and are put together where the executor has them put."""

    taken: list[Taken]
    executor: Executor

    @property
    def numbers(self) -> np.ndarray:
        return np.concatenate([rows.numbers for rows in self.taken])

    def put(self, output: str, number: int, foreign: NumberSet, access: store.Access) -> Index | None:
        return self.executor.call(put_together, self.taken, output, number, foreign, access)
