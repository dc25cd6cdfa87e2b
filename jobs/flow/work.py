"""What of a collection is left to do: Parquet files in the run's own folder; the driver keeps a few bytes per image."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.flow import ledger
from jobs.flow.manifest import Listed, counted
from jobs.output.identity import NumberSet, image_numbers, is_in
from tlg import store
from tlg.answers import records

# One file of work holds this many images, in groups; a unit of work is a group or an even part of one.
IMAGES_PER_FILE = 51_200
IMAGES_PER_GROUP = 2_048

SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("labels", pa.list_(pa.string())),
        ("put_off_at", pa.float64()),  # since when the image could not be had, null if it never was tried in vain
        ("place", pa.string()),  # where in its archive the image lies, null for one that is a file of its own
    ]
)


@dataclass
class Work:
    """What a run has to do, as files in its folder: positions 0 to `count`, and their total size where known."""

    folder: str
    access: store.Access
    listed: int = 0
    count: int = 0
    total_bytes: int = 0
    replaced: int = 0
    nothing_asked: int = 0
    unknown_labels: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)

    def remarks(self) -> list[str]:
        """What whoever started the run should hear about the collection."""
        remarks = []
        if self.left_out:
            remarks.append(f"left out: {counted(self.left_out)}")
        if self.nothing_asked:
            remarks.append(f"{self.nothing_asked:,} images have labels that ask for no class; they are not looked at")
        if self.unknown_labels:
            names = sorted(self.unknown_labels)
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            remarks.append(f"labels that are no class of the exemplars: {', '.join(names[:20])}{more}")
        return remarks

    def read(self, start: int, count: int) -> pa.Table:
        """The rows at positions `start` to `start + count`, which lie in one group."""
        file, inside = divmod(start, IMAGES_PER_FILE)
        group, offset = divmod(inside, IMAGES_PER_GROUP)
        content = store.read(f"{self.folder}/{file:06d}.parquet", self.access)
        return pq.ParquetFile(io.BytesIO(content)).read_row_group(group).slice(offset, count)

    def units(self, images_per_unit: int) -> np.ndarray:
        """(start, count) of every unit of work; `images_per_unit` divides the group size."""
        starts = np.arange(0, self.count, images_per_unit)
        return np.stack([starts, np.minimum(images_per_unit, self.count - starts)], axis=1)


def plan_work(
    batches: Iterable[Listed],
    done: ledger.Ledger,
    class_names: Sequence[str],
    folder: str,
    access: store.Access,
    only_failed: bool = False,
    force: bool = False,
    seen: NumberSet | None = None,
    put_off: Mapping[str, float] | None = None,
    expect: Callable[[int], object] | None = None,
) -> Work:
    """Write down what is left to do. Of an image that is listed twice, the first counts.

    `seen` gets every image that is listed; `put_off` says since when images could not be had. `expect` hears now and
    then how many there are to do at least.
    """
    work = Work(folder, access)
    class_ids = {name: number for number, name in enumerate(class_names, start=1)}
    everything = ledger.classes_key(list(class_ids.values()))
    seen = NumberSet() if seen is None else seen
    waiting: list[pa.Table] = []
    for batch in batches:
        work.left_out += batch.left_out
        image_ids = [records.image_id(uri) for uri in batch.uris]
        numbers = image_numbers(pa.chunked_array([pa.array(image_ids, pa.string())]))
        keys = ledger.image_keys(image_ids, batch.etags)
        if batch.labels is None:
            classes_keys, chosen = np.full(len(keys), everything), np.ones(len(keys), bool)
        else:
            batch.labels = [_known_only(names, class_ids, work.unknown_labels) for names in batch.labels]
            sums = [
                everything if names is None else ledger.classes_key([class_ids[name] for name in names])
                for names in batch.labels
            ]
            classes_keys = np.asarray(sums, np.uint64)
            chosen = np.asarray([names is None or len(names) > 0 for names in batch.labels])
            work.nothing_asked += int((~chosen).sum())
        if only_failed:
            chosen &= is_in(numbers, done.failed_images)
        elif not force:
            chosen &= ~done.is_done(keys, classes_keys)
        fresh = np.zeros(len(numbers), bool)
        fresh[np.unique(numbers, return_index=True)[1]] = True
        fresh &= ~seen.has(numbers)
        seen.add(numbers[fresh])
        work.listed += int(fresh.sum())
        todo = np.flatnonzero(chosen & fresh)
        work.replaced += int(is_in(numbers[todo], done.known).sum())
        if len(todo):
            waiting.append(_rows(batch, todo, put_off or {}))
        while sum(map(len, waiting)) >= IMAGES_PER_FILE:
            together = pa.concat_tables(waiting)
            _write(work, together.slice(0, IMAGES_PER_FILE))
            waiting = [together.slice(IMAGES_PER_FILE)]
        if expect is not None:
            expect(work.count + sum(map(len, waiting)))
    if sum(map(len, waiting)):
        _write(work, pa.concat_tables(waiting))
    return work


def _rows(batch: Listed, chosen: np.ndarray, put_off: Mapping[str, float]) -> pa.Table:
    def take(values: list[Any]) -> list[Any]:
        return [values[place] for place in chosen]

    columns = {
        "position": np.zeros(len(chosen), np.int64),
        "uri": take(batch.uris),
        "etag": take(batch.etags),
        "size": take(batch.sizes),
        "labels": [None] * len(chosen) if batch.labels is None else take(batch.labels),
        "put_off_at": [put_off.get(uri) for uri in take(batch.uris)],
        "place": [None] * len(chosen) if batch.places is None else take(batch.places),
    }
    return pa.table(columns, schema=SCHEMA)


def _write(work: Work, table: pa.Table) -> None:
    positions = pa.array(np.arange(work.count, work.count + len(table)), pa.int64())
    table = table.set_column(0, "position", positions)
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=IMAGES_PER_GROUP, compression="zstd")
    store.write(f"{work.folder}/{work.count // IMAGES_PER_FILE:06d}.parquet", stream.getvalue(), work.access)
    work.count += len(table)
    work.total_bytes += int(table["size"].drop_null().to_numpy().sum())


def _known_only(names: list[str] | None, class_ids: dict[str, int], unknown: set[str]) -> list[str] | None:
    if names is None:
        return None
    unknown.update(name for name in names if name not in class_ids)
    return sorted({name for name in names if name in class_ids}, key=class_ids.__getitem__)
