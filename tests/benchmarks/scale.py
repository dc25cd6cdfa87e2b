"""Very many tiny images through the rehearsal model: listing, ledger, pipeline, commit, COCO and report; then again.

Five classes are asked, the first of which gets a mask.
`python tests/benchmarks/scale.py --images 1000000` for more than the table's hundred thousand.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import Row, repeated
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE = 32
DISTINCT = 64
CLASSES = ("ant", "bee", "cat", "dog", "elk")
REPEATS = 3


def write_images(folder: Path, count: int) -> None:
    """Distinct files, contents that repeat: what is measured does not look at them."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(DISTINCT):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(stream, "JPEG", quality=80)
        contents.append(stream.getvalue())
    for number in range(count):
        parent = folder / f"{number // 1000:04d}"
        if number % 1000 == 0:
            parent.mkdir(parents=True)
        (parent / f"{number:07d}.jpg").write_bytes(contents[number % DISTINCT])


def run_once(work: Path) -> dict[str, float]:
    """One run in a process of its own; its wall time from start to exit, and its driver's peak memory."""
    start = time.monotonic()
    command = [sys.executable, __file__, "--work", str(work)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout.splitlines()[-1]) | {"wall": time.monotonic() - start}


def run_here(work: Path) -> None:
    """Run the job; processor time is this process's own, until COCO and the report are written and in all."""
    from jobs.annotate import annotate, exports
    from tlg.documents import parse
    from tlg.spec import AnnotateSpec

    content = {
        "name": "scale",
        "images": {"uri": str(work / "images")},
        "exemplars": str(work / "exemplars"),
        "model": "dry-run",
        "output": {"uri": str(work / "out"), "formats": ["parquet", "coco"]},
        "workers": {"min": 1, "max": 1},
    }
    spec = parse(AnnotateSpec, content, "benchmark")
    began, committed = time.monotonic(), {}
    write = exports.write

    def noted(*given: object) -> None:
        committed["seconds"] = time.monotonic() - began
        committed["cpu"] = own_seconds() - started_with
        write(*given)

    exports.write = noted
    started_with = own_seconds()
    summary = annotate(spec)
    whole = own_seconds() - started_with
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"done": summary.done, "peak_gb": peak, "cpu_whole": whole, **committed}))


def own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(count: int = 100_000, repeats: int = REPEATS) -> list[Row]:
    firsts, seconds = [], []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_images(work / "images", count)
        for name in CLASSES:
            (work / "exemplars" / name).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(work / "exemplars" / name / "1.png")
        for _ in range(repeats):
            shutil.rmtree(work / "out", ignore_errors=True)
            firsts.append(run_once(work))
            seconds.append(run_once(work))
            if firsts[-1]["done"] != count or seconds[-1]["done"] != 0:
                raise RuntimeError(f"expected {count} and 0, found {firsts[-1]['done']} and {seconds[-1]['done']}")
    inputs = f"{count:,} images of {SIDE} px, {len(CLASSES)} classes, dry-run, local, COCO and report"

    def row(what: str, values: list[float], unit: str, aim: str = "") -> Row:
        return repeated(f"job: {what}", values, unit, aim, inputs)

    def cores(name: str) -> list[float]:
        """Of the driver, if a thousand images came every second: a core does a second's work in a second."""
        return [1000 * first[name] / count for first in firsts]

    return [
        row(
            "tiny images listed, answered and committed", [count / x["seconds"] for x in firsts], "images/s", ">= 2500"
        ),
        row("the same from start to exit, COCO and report written", [count / x["wall"] for x in firsts], "images/s"),
        row("driver, until all is committed", cores("cpu"), "cores per 1,000 images/s", "< 0.1"),
        row("driver, COCO and report included", cores("cpu_whole"), "cores per 1,000 images/s"),
        row("driver's peak memory", [first["peak_gb"] for first in firsts], "GB", "< 1"),
        row("run with nothing to do", [second["wall"] for second in seconds], "s", "< 30"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    if arguments.work:
        run_here(arguments.work)
    else:
        for row in measure(arguments.images, repeats=1):
            print(f"{row.what}: {row.value:,.3f} {row.unit} (aim {row.aim}; {row.inputs})")
