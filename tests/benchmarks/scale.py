"""Very many tiny images through a null model: listing, ledger, pipeline and commit, and the second run.

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
    from jobs.annotate import annotate
    from tlg.documents import parse
    from tlg.spec import AnnotateSpec

    content = {
        "name": "scale",
        "images": {"uri": str(work / "images")},
        "exemplars": str(work / "exemplars"),
        "model": "dry-run",
        "output": {"uri": str(work / "out"), "formats": ["parquet"]},
        "workers": {"min": 1, "max": 1},
    }
    summary = annotate(parse(AnnotateSpec, content, "benchmark"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"done": summary.done, "seconds": summary.seconds, "peak_gb": peak}))


def measure(count: int = 100_000, repeats: int = REPEATS) -> list[Row]:
    rates, peaks, nothing = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_images(work / "images", count)
        (work / "exemplars" / "thing").mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(work / "exemplars" / "thing" / "1.png")
        for _ in range(repeats):
            shutil.rmtree(work / "out", ignore_errors=True)
            first, second = run_once(work), run_once(work)
            if first["done"] != count or second["done"] != 0:
                raise RuntimeError(f"expected {count} and 0 images, found {first['done']} and {second['done']}")
            rates.append(count / first["wall"])
            peaks.append(first["peak_gb"])
            nothing.append(second["wall"])
    inputs = f"{count:,} images of {SIDE} px, dry-run, local"
    return [
        repeated("job: tiny images listed, answered and committed", rates, "images/s", ">= 1500", inputs),
        repeated("job: driver's peak memory", peaks, "GB", "< 1.5", inputs),
        repeated("job: run with nothing to do", nothing, "s", "< 30", inputs),
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
            print(f"{row.what}: {row.value:,.2f} {row.unit} (aim {row.aim}; {row.inputs})")
