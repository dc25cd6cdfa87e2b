"""An output with answers of every kind, committed without a job: what formats are tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from jobs.output import catalogue as catalogues
from jobs.output import runs
from jobs.output.lease import Lease
from jobs.output.writer import ShardWriter
from tlg import store
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance

NAMES = ("fox", "brown hare")
HEIGHT, WIDTH = 60, 80


def masks(number: int) -> dict[str, np.ndarray]:
    """A ring, and a corner that overlaps it; every third picture has no ring and every fourth nothing at all."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = (y - 30) ** 2 + (x - 40 - number % 5) ** 2
    ring = (distance < 400) & (distance > 100) & (number % 3 > 0)
    corner = (x < 30) & (y > 30)
    return dict(zip(NAMES, (ring & (number % 4 > 0), corner & (number % 4 > 0)), strict=True))


def answers(number: int) -> list[Answer]:
    return [
        records.answer_from_mask(name, class_id, mask, 0.9 - 0.1 * class_id, 0.9, 0.5)
        for class_id, (name, mask) in enumerate(masks(number).items(), start=1)
    ]


def write_image(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    marked = np.any(list(masks(number).values()), axis=0)
    Image.fromarray(np.where(marked[..., None], np.uint8([200, 90, 30]), np.uint8([20, 20, number % 256]))).save(path)
    return path


def image_path(folder: Path, number: int) -> Path:
    return folder / f"night {number % 2}" / f"{number:03d}.png"


def commit(out: Path, images: list[ImageAnswers], run_id: str = "r1") -> None:
    """One shard, as a job commits it."""
    with Lease(str(out), run_id) as lease:
        writer = ShardWriter(catalogues.load(str(out), keep=True), lease)
        writer.commit(records.to_table(images, Provenance("model-1", "exemplars-1", "params-1", run_id)))
        writer.drop_superseded()


def write_output(folder: Path, count: int = 8) -> Path:
    """`folder/out` with the answers to `folder/images`, in two shards, and one picture that could not be read."""
    out = folder / "out"
    rows = [
        ImageAnswers(str(write_image(image_path(folder / "images", number), number)), "1", answers(number))
        for number in range(count)
    ]
    broken = ImageAnswers(str(folder / "images" / "broken.png"), "1", (), "truncated", "cut short")
    commit(out, [*rows[: count // 2], broken])
    commit(out, rows[count // 2 :])
    summary = runs.RunSummary("r1", "foxes", str(out), str(folder / "images"), "succeeded", started_at=runs.now())
    summary.write(store.DEFAULT_ACCESS)
    return out
