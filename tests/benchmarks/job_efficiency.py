"""The job against a plain loop of the same Annotator over decoded images, on the same cores.

The job runs as `tlg annotate` runs it where nothing else is asked, in one process of this machine, and on Ray with a
worker for every core. `--images 3000` for a collection of that size.
"""

from __future__ import annotations

import argparse
import io
import json
import os
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
IMAGES = 600
MANY = 3000
REPEATS = 3
SIDE = 320
MODEL = "tlg-tiny"


def write_collection(work: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(count + 2):
        inside = (y - rng.uniform(80, 240)) ** 2 + (x - rng.uniform(80, 240)) ** 2 < rng.uniform(30, 90) ** 2
        pixels = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        pixels[inside] += 120
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=85)
        folder = work / "images" if number < count else work / "exemplars" / f"thing {number - count}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05d}.jpg").write_bytes(stream.getvalue())


def loop(work: Path, model: str) -> dict[str, float]:
    """Images a second of the bare Annotator, all cores to itself, images decoded beforehand; and what decoding the
    images and encoding their masks takes beside it."""
    import torch

    from tlg import exemplars
    from tlg import pictures as images
    from tlg.allocation import keep_freed_memory
    from tlg.annotators.protocol import AnnotateParams
    from tlg.annotators.registry import load_annotator
    from tlg.answers import records
    from tlg.spec import RunSpec

    torch.set_num_threads(os.cpu_count() or 1)
    keep_freed_memory()
    annotator = load_annotator(model, exemplars.load(str(work / "exemplars")), AnnotateParams(), "cpu")
    contents = [path.read_bytes() for path in sorted((work / "images").glob("*.jpg"))]
    start = time.perf_counter()
    pictures = [images.decode(content) for content in contents]
    decoding = time.perf_counter() - start
    size = RunSpec().batch_size
    annotator.annotate(pictures[:size])
    answers = []
    start = time.perf_counter()
    for first in range(0, len(pictures), size):
        answers += annotator.annotate(pictures[first : first + size])
    annotating = time.perf_counter() - start
    masks = [records.decode_mask(one.rle) for of_picture in answers for one in of_picture if one.rle is not None]
    start = time.perf_counter()
    for mask_HW in masks:
        records.encode_mask(mask_HW)
    encoding = time.perf_counter() - start
    # The Annotator's own time holds the encoding already.
    return {"rate": len(pictures) / annotating, "coding_share": (decoding + encoding) / (decoding + annotating)}


def job(work: Path, model: str, on_ray: bool) -> dict[str, float]:
    """The whole job's rate from start to end, and that of its pipeline once workers are up."""
    from jobs.annotate import annotate
    from tlg.documents import parse
    from tlg.spec import AnnotateSpec

    cores = os.cpu_count() or 1
    # A run before this one would leave nothing to do.
    shutil.rmtree(work / "out", ignore_errors=True)
    content = {
        "name": "efficiency",
        "images": {"uri": str(work / "images")},
        "exemplars": str(work / "exemplars"),
        "model": model,
        "output": {"uri": str(work / "out"), "formats": ["parquet"]},
        "workers": {"min": cores, "max": cores, "cpus": 1} if on_ray else {},
    }
    summary = annotate(parse(AnnotateSpec, content, "benchmark"))
    return {"whole": summary.done / summary.seconds, "steady": summary.steady_images_per_second}


def in_process(what: str, work: Path, model: str) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, __file__, "--only", what, "--work", str(work), "--model", model]
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def measure(model: str = MODEL, count: int = IMAGES, repeats: int = REPEATS) -> list[Row]:
    """Loop and job take turns, so that a machine that slows down slows both."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_collection(work, count)
        turns = [[in_process(what, work, model) for what in ("loop", "here", "ray")] for _ in range(repeats)]
    inputs = f"{count} JPEGs of {SIDE} px, 2 classes, {model}, {os.cpu_count()} cores"
    aim = ">= 0.95" if count >= MANY else ">= 0.75"
    coding = [100 * plain["coding_share"] for plain, _, _ in turns]

    def against_loop(place: int, rate: str) -> list[float]:
        return [turn[place][rate] / turn[0]["rate"] for turn in turns]

    return [
        repeated("job against a loop of the Annotator, start to end", against_loop(1, "whole"), "x", aim, inputs),
        repeated("the same on Ray, start to end", against_loop(2, "whole"), "x", aim, inputs),
        repeated("the same on Ray, workers up", against_loop(2, "steady"), "x", ">= 0.9", inputs),
        repeated("the loop", [plain["rate"] for plain, _, _ in turns], "images/s", inputs=inputs),
        repeated("decode and encode, share of an image's time", coding, "%", "< 10", inputs),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["loop", "here", "ray"])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--images", type=int, default=IMAGES)
    arguments = parser.parse_args()
    if arguments.only == "loop":
        print(json.dumps(loop(arguments.work, arguments.model)))
    elif arguments.only:
        print(json.dumps(job(arguments.work, arguments.model, arguments.only == "ray")))
    else:
        for row in measure(arguments.model, arguments.images, repeats=1):
            print(f"{row.what}: {row.value:,.2f} {row.unit} (aim {row.aim}; {row.inputs})")
