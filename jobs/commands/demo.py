"""`tlg demo`: a collection, exemplars and a job spec as files; the job run on them for real; the result measured.

Everything it writes can be opened, edited and run again: images/, exemplars/, demo.yaml, truth/ (only the
measurement reads it) and, after the run, answers/.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from rich.console import Console
from rich.table import Table

from jobs.output import shards
from tlg import exemplars, world
from tlg.answers import records
from tlg.errors import SpecError

CLASS_COUNT = 4
IMAGES_PER_CLASS = 10
IMAGES_WITH_NONE = 10
EXEMPLARS_PER_CLASS = 5
NEGATIVES = 6


@dataclass(frozen=True)
class DemoFiles:
    """Where the demo put what."""

    folder: Path

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def truth(self) -> Path:
        return self.folder / "truth"

    @property
    def exemplars(self) -> Path:
        return self.folder / "exemplars"

    @property
    def spec(self) -> Path:
        return self.folder / "demo.yaml"

    @property
    def answers(self) -> Path:
        return self.folder / "answers"


def write_demo(folder: Path, seed: int, model: str) -> DemoFiles:
    """The collection, the exemplars and the spec. Only novel classes: the network never saw a mask of them."""
    files = DemoFiles(folder)
    marker = folder / ".tlg-demo"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise SpecError(f"{folder}: not empty and not a demo; choose another folder with --out")
    shutil.rmtree(folder, ignore_errors=True)
    for place in (files.images, files.truth, files.exemplars):
        place.mkdir(parents=True)
    marker.touch()
    rng = np.random.default_rng(seed)
    novel = world.NOVEL
    chosen = [str(name) for name in sorted(rng.choice(novel, CLASS_COUNT, replace=False))]
    others = [name for name in world.CLASSES if name not in chosen]
    for name in chosen:
        _save_exemplars(files.exemplars / name, (_scene(rng, [name], name) for _ in range(EXEMPLARS_PER_CLASS)))
    negatives = files.exemplars / exemplars.NEGATIVES_FOLDER
    _save_exemplars(negatives, (_scene(rng, others) for _ in range(NEGATIVES)))
    wanted = [name for name in chosen for _ in range(IMAGES_PER_CLASS)] + [None] * IMAGES_WITH_NONE
    for number, position in enumerate(rng.permutation(len(wanted))):
        required = wanted[position]
        drawn = _scene(rng, others if required is None else novel, required)
        Image.fromarray(drawn.image).save(files.images / f"{number:03d}.jpg", quality=92)
        Image.fromarray(_labels(drawn.labels, chosen)).save(files.truth / f"{number:03d}.png")
    _write_broken(files.images)
    job = {
        "name": "demo",
        "images": {"uri": "images"},
        "exemplars": "exemplars",
        "model": model,
        "output": {"uri": "answers", "formats": ["parquet", "coco", "overlay"]},
        # Four of the demo's files are broken on purpose.
        "run": {"max_error_rate": 0.2},
    }
    files.spec.write_text(yaml.safe_dump(job, sort_keys=False))
    return files


def measure(files: DemoFiles, answers: Iterable[dict]) -> float:
    """mIoU of answer rows against the generator's truth, over the demo's classes."""
    names = exemplars.describe(str(files.exemplars))
    classes = [of_class.name for of_class in names.classes]
    masks: dict[tuple[str, str], np.ndarray] = {}
    for row in answers:
        if row["status"] == "mask":
            masks[Path(row["image_uri"]).stem, row["class_name"]] = records.decode_mask(row["rle"])
    inter, union = np.zeros(len(classes)), np.zeros(len(classes))
    for truth_file in sorted(files.truth.glob("*.png")):
        truth_HW = np.asarray(Image.open(truth_file))
        for index, name in enumerate(classes):
            true_HW = truth_HW == index + 1
            mask_HW = masks.get((truth_file.stem, name), np.zeros_like(true_HW))
            inter[index] += (mask_HW & true_HW).sum()
            union[index] += (mask_HW | true_HW).sum()
    return float(100 * np.mean(inter / np.maximum(union, 1)))


def demo(folder: Path, seed: int = 7, model: str = "tlg-tiny") -> None:
    """Write the demo's files, run the job, measure, and tell what to do next."""
    from jobs.annotate import annotate
    from tlg.spec import load_annotate_spec

    console = Console()
    console.print(f"[bold]1[/] Writing a small collection, exemplars and a job spec to {folder}/")
    files = write_demo(folder, seed, model)
    console.print(f"[bold]2[/] Running the job {files.spec}")
    summary = annotate(load_annotate_spec(str(files.spec)))
    console.print("[bold]3[/] Measuring against the generator's truth")
    shown = [row for shard in shards.committed(str(files.answers)) for row in shards.read(shard, None).to_pylist()]
    table = Table(show_header=False, box=None)
    for label, value in (
        ("images", f"{summary.images}"),
        ("masks", f"{summary.masks}"),
        ("class absent", f"{summary.absent}"),
        ("quarantined", f"{summary.errors}  (see {files.answers}/quarantine)"),
        ("seconds", f"{summary.seconds:.1f}"),
        ("images a second", f"{summary.images / summary.seconds:.1f}"),
        ("mIoU", f"{measure(files, shown):.1f}"),
        ("report", f"{files.answers}/report/index.html"),
    ):
        table.add_row(label, value)
    console.print(table)
    console.print("\n" + next_steps(files))


def next_steps(files: DemoFiles) -> str:
    from tlg.spec import DEFAULT_MODEL

    return f"""\
Your own photographs are answered by {DEFAULT_MODEL}, which needs no download:
  tlg annotate --images PICTURES --exemplars EXEMPLARS --out ANSWERS
  tlg annotate {files.spec} --set run.min_score=0.7   [dim]# edit and run again[/]
  tlg serve                                             [dim]# the same in a browser[/]"""


def _scene(rng: np.random.Generator, classes: Iterable[str], required: str | None = None) -> world.Scene:
    return world.scene(rng, classes=list(classes), required=required)


def _labels(labels_HW: np.ndarray, chosen: list[str]) -> np.ndarray:
    """The world's label map with the demo's own class ids, everything else background."""
    own = np.zeros(len(world.CLASSES) + 1, np.uint8)
    for class_id, name in enumerate(chosen, start=1):
        own[world.index_of(name) + 1] = class_id
    return own[labels_HW]


def _save_exemplars(folder: Path, scenes: Iterable[world.Scene]) -> None:
    folder.mkdir()
    for number, scene in enumerate(scenes, start=1):
        Image.fromarray(scene.image).save(folder / f"{number}.jpg", quality=92)


def _write_broken(folder: Path) -> None:
    """Files such as every real collection has."""
    whole = (folder / "000.jpg").read_bytes()
    (folder / "broken-cut-short.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "broken-empty.jpg").write_bytes(b"")
    (folder / "broken-a-text.jpg").write_text("This is not a picture.\n")
    (folder / "broken-header.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
