"""How the driver's share of a job grows with its images, and whether it keeps up with a thousand workers.

Planning, receiving and the ledger of the night after are the product's own, at ten thousand, a hundred thousand and a
million images. The workers are simulated: their receipts come when a thousand of them would have sent them, and a
shard is put together in the time that a real one took just before. What Ray itself does for a task is not in here; see
`scale` and `scaling`.
"""

from __future__ import annotations

import heapq
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import night
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Row

REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = (10_000, 100_000, 1_000_000)
WORKERS = 1000
SECONDS_PER_IMAGE = 1.0
UNLIKE = 0.2  # units take so much more or less than the mean
FLAT = 1.5  # an image of the largest size may cost so many times what it costs at the smallest but one
LEAST_SHARE_OF_LINEAR = 0.9


class Pool:
    """Simulated workers and the clock they share with the driver, whose own time is measured."""

    def __init__(self, units: np.ndarray, put_seconds_per_image: float):
        self._units = iter(units.tolist())
        self._put_seconds = put_seconds_per_image
        self._random = np.random.default_rng(0)
        self._ends: list[tuple[float, int, int]] = []
        self.clock = self.work_seconds = 0.0
        for _ in range(WORKERS):
            self._begin(0.0)

    def _begin(self, now: float) -> None:
        if (unit := next(self._units, None)) is not None:
            seconds = unit[1] * SECONDS_PER_IMAGE * (1 + UNLIKE * self._random.uniform(-1, 1))
            self.work_seconds += seconds
            heapq.heappush(self._ends, (now + seconds, *unit))

    def receipts(self) -> Any:
        """Those of each unit as it ends; the worker goes on at once."""
        from jobs.output.aside import RECEIPTS

        while self._ends:
            end, start, count = heapq.heappop(self._ends)
            self._begin(end)
            self.clock = max(self.clock, end)
            constant = {
                "deferred": False, "rows": 5, "masks": 3, "absent": 2, "error_type": None, "fetch_seconds": 0.0,
                "decode_seconds": 0.0, "segment_seconds": 1.0, "aside": f"{start:012d}", "together": count,
                "bytes": 2000,
            }  # fmt: skip
            columns: dict[str, Any] = {name: [value] * count for name, value in constant.items()}
            numbers = np.random.default_rng(start).integers(0, 2**63, count).astype(np.uint64)
            columns |= {"position": np.arange(start, start + count), "number": numbers}
            columns |= {"uri": [f"s3://bucket/{place:09d}.jpg" for place in range(start, start + count)]}
            yield pa.table({name: columns[name] for name in RECEIPTS.names}).cast(RECEIPTS)

    def call(self, action: Any, taken: list[Any], *rest: Any) -> int:
        """A worker puts the shard together; whoever waits for it takes no receipts."""
        images = sum(len(one.numbers) for one in taken)
        self.clock += images * self._put_seconds
        return images


class Shards:
    """A writer that has shards put and keeps nothing but their number."""

    def __init__(self) -> None:
        self.count = 0

    def commit(self, rows: Any) -> int:
        self.count += 1
        return 5 * rows.executor.call(None, rows.taken)


def put_seconds(work: Path) -> float:
    """For an image of five rows: a real shard of 20,000 images, put together from files of 500."""
    from jobs.output import aside
    from jobs.output.identity import NumberSet, image_numbers
    from tlg import store
    from tlg.answers.records import Provenance

    rng = np.random.default_rng(0)
    masks = night.masks(rng)
    taken = []
    for start in range(0, night.IMAGES_PER_SHARD, 500):
        table = night.shard_rows(rng, start, 500, masks, Provenance("m", "e", "p", "r"))
        file = work / f"aside-{start}.parquet"
        pq.write_table(table, file, compression="zstd")
        taken.append(aside.Taken(str(file), np.unique(image_numbers(table["image_id"])), True))
    began = time.perf_counter()
    aside.put_together(taken, str(work / "shard"), 1, NumberSet(), store.DEFAULT_ACCESS)
    return (time.perf_counter() - began) / night.IMAGES_PER_SHARD


def driver(work: Path, count: int) -> dict[str, float]:
    """One size: processor seconds an image, memory, and how the pool fared."""
    from jobs.flow import ledger, manifest
    from jobs.flow.stages import images_per_unit
    from jobs.flow.work import plan_work
    from jobs.output.runs import RunSummary, Tally
    from jobs.receiver import Receiver
    from tlg import store
    from tlg.answers.records import Provenance
    from tlg.spec import ImagesSpec

    uris = [f"s3://bucket/{number:09d}.jpg" for number in range(count)]
    pq.write_table(pa.table({"uri": uris, "etag": [f"{number:x}" for number in range(count)]}), work / "m.parquet")
    del uris
    per_image = put_seconds(work)
    nothing = ledger.load(str(work / "none"), Provenance("m", "e", "p", "r"))
    began = time.process_time()
    batches = manifest.listed(ImagesSpec(manifest=str(work / "m.parquet")))
    todo = plan_work(batches, nothing, ["a", "b", "c", "d", "e"], str(work / "work"), store.DEFAULT_ACCESS)
    planning = time.process_time() - began
    units = todo.units(images_per_unit(todo, WORKERS))
    pool, shards = Pool(units, per_image), Shards()
    summary = RunSummary("r", "growth", str(work / "out"), images=count)
    receiver = Receiver(count, str(work), pool, Tally(summary, None), shards)  # type: ignore[arg-type]
    receiving = 0.0
    for receipts in pool.receipts():
        began = time.process_time()
        receiver.take(receipts)
        receiver.judge(0.05)
        seconds = time.process_time() - began
        receiving += seconds
        pool.clock += seconds
    receiver.commit()
    assert summary.done == count
    return {
        "planning": planning / count,
        "receiving": receiving / count,
        "of_linear": pool.work_seconds / WORKERS / pool.clock,
        "busy": (receiving + per_image * count) / pool.clock,
        "put": per_image,
        "shards": shards.count,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def measure(sizes: tuple[int, ...] = SIZES) -> list[Row]:
    seen = {}
    for count in sizes:
        command = [sys.executable, __file__, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
        seen[count] = json.loads(done.stdout.splitlines()[-1])
    rows = []
    for count, of in seen.items():
        inputs = f"{count:,} images, five classes"
        rows += [
            Row("growth: planning, processor time of an image", 1e6 * of["planning"], "µs", inputs=inputs),
            Row("growth: receiving, processor time of an image", 1e6 * of["receiving"], "µs", inputs=inputs),
            Row("growth: a worker puts an image into its shard", 1e6 * of["put"], "µs", inputs=inputs),
            Row("growth: driver's peak memory", of["peak_gb"], "GB", inputs=inputs),
        ]
    largest, before = seen[sizes[-1]], seen[sizes[-2]]
    both = f"{sizes[-1]:,} and {sizes[-2]:,} images"
    for name in ("planning", "receiving"):
        ratio = largest[name] / before[name]
        rows.append(Row(f"growth: {name}, an image of many in one of fewer", ratio, "ratio", f"< {FLAT}", inputs=both))
    pool = f"{sizes[-1]:,} images, {WORKERS:,} simulated workers, {SECONDS_PER_IMAGE:g} s an image"
    aim = f">= {LEAST_SHARE_OF_LINEAR}"
    rows.append(Row("growth: pool, of linear", largest["of_linear"], "ratio", aim, inputs=pool))
    rows.append(
        Row("growth: pool, share of its time in which the driver is busy", largest["busy"], "ratio", inputs=pool)
    )
    rows.append(Row("growth: memory of an image more", 2**30 * (largest["peak_gb"] - before["peak_gb"])
                    / (sizes[-1] - sizes[-2]), "bytes", inputs=both))  # fmt: skip
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(driver(Path(scratch), int(sys.argv[1]))))
