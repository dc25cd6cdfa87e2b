"""A night with 10 new images on an output of very many answered ones: wall time, bytes read, memory.

`python tests/benchmarks/night.py --images 1000000` for the full size. The output is written directly: real rows and
masks of five classes, committed as a run commits them, COCO and report made once by a run of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness import Row
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = [f"class {number}" for number in range(5)]
IMAGES_PER_SHARD = 20_000
DISTINCT_MASKS = 2_000
NEW_IMAGES = 10
SHARE_WITH_MASK = 0.6
SHARE_OF_ERRORS = 0.001
SIDE = 96
START_ATTEMPTS = 5


def masks(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Distinct ragged discs, a few hundred bytes of RLE each."""
    from tlg.answers import records

    y, x = np.mgrid[:SIDE, :SIDE]
    found = []
    for _ in range(DISTINCT_MASKS):
        centre, radius = rng.uniform(SIDE / 4, 3 * SIDE / 4, 2), rng.uniform(SIDE / 6, SIDE / 3)
        ragged = rng.normal(0, 0.05, (SIDE, SIDE)) + np.hypot(y - centre[0], x - centre[1]) / radius
        found.append(dict(records.encode_mask(ragged < 1)))
    return found


def shard_rows(rng: np.random.Generator, start: int, count: int, known: list[dict], provenance: Any) -> pa.Table:
    """`count` images, five rows each, a few of them errors."""
    from tlg.answers import records

    uris = [f"/collection/{number // 1000:05d}/{number:09d}.jpg" for number in range(start, start + count)]
    ids = [records.image_id(uri) for uri in uris]
    etags = [f"{value:x}" for value in rng.integers(0, 2**62, count).tolist()]
    failed = rng.random(count) < SHARE_OF_ERRORS
    each = np.where(failed, 1, len(CLASSES))
    image = np.repeat(np.arange(count), each)
    is_error = failed[image]
    place = np.arange(len(image)) - np.repeat(np.cumsum(each) - each, each)
    is_mask = (rng.random(len(image)) < SHARE_WITH_MASK) & ~is_error
    chosen = rng.integers(0, len(known), len(image)).tolist()
    scores = rng.random(len(image)).astype(np.float32)

    def where(keep: np.ndarray, values: Any, kind: pa.DataType) -> pa.Array:
        return pa.array([value if ok else None for ok, value in zip(keep, values, strict=True)], kind)

    kind = {field.name: field.type for field in records.SCHEMA}
    columns: dict[str, Any] = {
        "image_id": pa.array(ids).take(image),
        "image_uri": pa.array(uris).take(image),
        "image_etag": pa.array(etags).take(image),
        "height": where(~is_error, [SIDE] * len(image), kind["height"]),
        "width": where(~is_error, [SIDE] * len(image), kind["width"]),
        "class_name": where(~is_error, [CLASSES[one] for one in place], kind["class_name"]),
        "class_id": where(~is_error, (place + 1).tolist(), kind["class_id"]),
        "status": np.where(is_error, "error", np.where(is_mask, "mask", "absent")),
        "score": where(~is_error, scores.tolist(), kind["score"]),
        "presence": where(~is_error, rng.random(len(image)).tolist(), kind["presence"]),
        "area": where(~is_error, rng.integers(0, SIDE * SIDE, len(image)).tolist(), kind["area"]),
        "bbox": where(is_mask, [[1.0, 2.0, 30.0, 40.0]] * len(image), kind["bbox"]),
        "rle": where(is_mask, [known[one] for one in chosen], kind["rle"]),
        "error_type": where(is_error, ["truncated"] * len(image), kind["error_type"]),
        "error_message": where(is_error, ["cut short"] * len(image), kind["error_message"]),
    }
    for name in ("model_digest", "exemplars_digest", "params_digest", "run_id"):
        columns[name] = pa.repeat(pa.scalar(getattr(provenance, name)), len(image))
    for name in records.SCHEMA.names:  # an older tree may lack what a newer one has, and has no part here
        columns.setdefault(name, pa.nulls(len(image), records.SCHEMA.field(name).type))
    return pa.table(columns).select(records.SCHEMA.names).cast(records.SCHEMA)


def job(work: Path) -> Any:
    from tlg.documents import parse
    from tlg.spec import AnnotateSpec

    output = {"uri": str(work / "out"), "formats": ["parquet", "coco"]}
    content = {"name": "night", "images": {"manifest": str(work / "images.parquet")}, "model": "dry-run"}
    content |= {"exemplars": str(work / "exemplars"), "output": output, "workers": {"min": 1, "max": 1}}
    return parse(AnnotateSpec, content, "benchmark")


def build(work: Path, count: int) -> None:
    """Exemplars, a manifest of `count` images, and shards that answer all of them."""
    import pyarrow.parquet as pq

    from jobs.output import shards
    from tlg import exemplars, store
    from tlg.annotators.protocol import AnnotateParams
    from tlg.annotators.registry import model_digest
    from tlg.answers.records import Provenance

    for name in CLASSES:
        (work / "exemplars" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(work / "exemplars" / name / "1.png")
    spec = job(work)
    params = AnnotateParams(min_score=spec.run.min_score, max_pixels=spec.run.max_pixels)
    digest = exemplars.load(spec.exemplars).digest
    provenance = Provenance(model_digest(spec.model), digest, params.digest(), "20260101T000000.000000Z")
    rng = np.random.default_rng(0)
    known, listed = masks(rng), []
    for number, start in enumerate(range(0, count, IMAGES_PER_SHARD), start=1):
        table = shard_rows(rng, start, min(IMAGES_PER_SHARD, count - start), known, provenance)
        # Encoded by the tree that is measured, so that an older tree can be measured too.
        content = shards.encode(shards.in_order(table) if hasattr(shards, "in_order") else table)
        store.write(f"{spec.output.uri}/annotations/part-{number:08d}.parquet", content)
        listed.append(table.select(["image_uri", "image_etag"]).group_by(["image_uri", "image_etag"]).aggregate([]))
    pq.write_table(pa.concat_tables(listed).rename_columns(["uri", "etag"]), work / "images.parquet")


def add_images(work: Path, count: int) -> None:
    import pyarrow.parquet as pq

    (work / "new").mkdir()
    rows = pq.read_table(work / "images.parquet").to_pylist()
    for number in range(count):
        path = work / "new" / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)).save(path)
        rows.append({"uri": str(path), "etag": "1"})
    pq.write_table(pa.Table.from_pylist(rows), work / "images.parquet")


def run_once(work: Path) -> dict[str, float]:
    """One run in a process of its own, from start to exit; again where a busy machine did not start Ray in time."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--work", str(work)]
    for _ in range(START_ATTEMPTS):
        start = time.monotonic()
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if not ended.returncode:
            return json.loads(ended.stdout.splitlines()[-1]) | {"wall": time.monotonic() - start}
        if "did not start" not in ended.stderr:
            break
    raise RuntimeError(f"the run ended with exit code {ended.returncode}: {ended.stderr[-2000:]}")


def run_here(work: Path) -> None:
    """Run the job and count what the driver reads of the output."""
    from jobs.annotate import annotate
    from tlg import store

    output, read_bytes = str(work / "out"), 0

    def count(uri: str, content: bytes) -> bytes:
        nonlocal read_bytes
        read_bytes += len(content) if uri.startswith(output) else 0
        return content

    class Counted:
        """A file of the store whose reads are counted."""

        def __init__(self, uri: str, file: Any):
            self._uri, self._file = uri, file

        def read(self, *given: int) -> bytes:
            return count(self._uri, self._file.read(*given))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

    read = store.read
    store.read = lambda uri, *given: count(uri, read(uri, *given))
    if hasattr(store, "open_input"):
        open_input = store.open_input
        store.open_input = lambda uri, *given: Counted(uri, open_input(uri, *given))
    summary = annotate(job(work))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"done": summary.done, "read": read_bytes, "peak_gb": peak}))


def measure(count: int = 100_000) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        build(work, count)
        run_once(work)  # makes the indexes, COCO and report of what is there
        before = {file: file.stat().st_mtime_ns for file in (work / "out" / "coco").iterdir()}
        size = sum(file.stat().st_size for file in (work / "out" / "annotations").iterdir())
        whole = sum(file.stat().st_size for file in (work / "out").rglob("*") if file.is_file())
        add_images(work, NEW_IMAGES)
        night = run_once(work)
        if night["done"] != NEW_IMAGES:
            raise RuntimeError(f"expected {NEW_IMAGES} images, found {night['done']}")
        untouched = sum(file.exists() and file.stat().st_mtime_ns == changed for file, changed in before.items())
        idle = run_once(work)
    inputs = f"{NEW_IMAGES} new on {count:,} answered images ({size / 2**20:,.0f} MiB), COCO and report"
    return [
        Row("night: start to exit", night["wall"], "s", "< 60", inputs=inputs),
        Row("night: read of the output's bytes", 100 * night["read"] / whole, "%", "< 3", inputs=inputs),
        Row("night: the same, of its answers' bytes alone", 100 * night["read"] / size, "%", inputs=inputs),
        Row("night: COCO files left alone", untouched / len(before), "", "all beyond one file", inputs=inputs),
        Row("night: driver's peak memory", night["peak_gb"], "GB", "< 1", inputs=inputs),
        Row("night with nothing new: start to exit", idle["wall"], "s", inputs=inputs),
        Row("night with nothing new: read of the output's bytes", 100 * idle["read"] / whole, "%", inputs=inputs),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    if arguments.work:
        run_here(arguments.work)
    else:
        for row in measure(arguments.images):
            print(f"{row.what}: {row.value:,.2f} {row.unit} (aim {row.aim}; {row.inputs})")
