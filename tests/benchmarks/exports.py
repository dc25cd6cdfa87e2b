"""What an export takes, by format: images a second, and the memory that four times as many images take in addition.

`python tests/benchmarks/exports.py --images 1000000 --formats coco label_studio_jsonl` for as many as one likes.
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
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import Row
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES_PER_SHARD = 2_500
SIDE = 64
DOCUMENTS = ("coco", "label_studio", "label_studio_jsonl", "croissant")
OTHERS = ("labelme", "label_maps", "yolo_seg", "hugging_face")


def write_output(folder: Path, count: int, are_read: bool) -> str:
    """Answers to `count` images, which are all the same file under as many names where a format reads them."""
    from jobs.output import catalogue as catalogues
    from jobs.output.lease import Lease
    from jobs.output.writer import ShardWriter
    from tlg.answers import records
    from tlg.answers.records import ImageAnswers, Provenance

    rng = np.random.default_rng(0)
    image = folder / "image.png"
    Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(image)
    y, x = np.mgrid[:SIDE, :SIDE]
    answers = [
        records.answer_from_mask("fox", 1, (y - 30) ** 2 + (x - 30) ** 2 < radius**2, 0.9, 0.9, 0.5)
        for radius in range(5, 25)
    ]
    (folder / "images").mkdir()
    out = str(folder / "out")
    with Lease(out, "r1") as lease:
        writer = ShardWriter(catalogues.load(out), lease)
        for start in range(0, count, IMAGES_PER_SHARD):
            rows = []
            for number in range(start, min(count, start + IMAGES_PER_SHARD)):
                path = folder / "images" / f"{number:07d}.png"
                if are_read:
                    path.symlink_to(image)
                rows.append(ImageAnswers(str(path), "1", [answers[number % len(answers)]]))
            writer.commit(records.to_table(rows, Provenance("m", "e", "p", "r1")))
    return out


def export_here(out: str, name: str, to: str) -> None:
    from jobs.output import exports

    start = time.monotonic()
    exports.export(out, name, to)
    seconds = time.monotonic() - start
    print(json.dumps({"seconds": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def export_apart(out: str, name: str) -> dict[str, float]:
    """In a process of its own, so that its peak is its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as to:
        command = [sys.executable, __file__, "--export", out, name, to]
        ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def measure(count: int = 100_000, files: int = 8_000) -> list[Row]:
    """Formats with a file for each image are asked for fewer."""
    return measured(count, DOCUMENTS) + measured(files, OTHERS)


def measured(count: int, formats: Sequence[str]) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
        are_read = not set(formats) <= set(DOCUMENTS)
        few, many = write_output(Path(small), count // 4, are_read), write_output(Path(large), count, are_read)
        for name in formats:
            before, after = export_apart(few, name), export_apart(many, name)
            inputs = f"{count:,} images of {SIDE} px, one class, local"
            rows.append(Row(f"{name}: images exported", count / after["seconds"], "images/s", inputs=inputs))
            rows.append(Row(f"{name}: peak memory", after["mb"], "MB", inputs=inputs))
            rows.append(Row(f"{name}: more memory than for a quarter", after["mb"] - before["mb"], "MB", "< 60"))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=8_000)
    parser.add_argument("--formats", nargs="+", default=[*DOCUMENTS, *OTHERS])
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.export:
        export_here(*arguments.export)
    else:
        for row in measured(arguments.images, arguments.formats):
            print(f"{row.what}: {row.value:,.1f} {row.unit} {row.aim}")
