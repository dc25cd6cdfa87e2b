"""Ten answers mended, and what the next run makes of the rest: steel defects whose names mean nothing to any model.

A review draws the ten pictures, their true masks are what a person mends, `tlg exemplars add` takes them into the set.
The pictures are looked up at ../shared/data/neu_seg; without them nothing is measured.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from harness import Row
from PIL import Image

from jobs.commands import exemplars as adding
from jobs.output import catalogue as catalogues
from jobs.output.lease import Lease
from jobs.output.writer import ShardWriter
from jobs.review import verdicts
from jobs.review.session import Session
from tlg import exemplars, pictures
from tlg.annotators.network import NetworkAnnotator
from tlg.annotators.registry import load_model
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance
from tlg.answers.scoring import ClassScore

DATA = Path(__file__).resolve().parents[3] / "shared/data/neu_seg"
MODEL = "tlg-photo"
SHOTS, MENDED, LIMIT = 3, 10, 60
SEEDS = (0, 1, 2)


def classes() -> dict[int, str]:
    numbers = json.loads((DATA / "classes.json").read_text())
    return {int(number): name for number, name in numbers.items() if int(number) not in (0, 254)}


def truth(stem: str) -> dict[str, np.ndarray]:
    label_HW = np.asarray(Image.open(DATA / "labels" / f"{stem}.png"))
    return {name: label_HW == number for number, name in classes().items()}


def answers(annotator: NetworkAnnotator, files: Sequence[Path]) -> dict[str, list[Answer]]:
    return {file.stem: annotator.annotate([pictures.decode(file.read_bytes())])[0] for file in files}


def mean_iou(answered: dict[str, list[Answer]], leaving_out: set[str]) -> float:
    scores = {name: ClassScore(name) for name in classes().values()}
    for stem, found in answered.items():
        if stem not in leaving_out:
            known = truth(stem)
            for one in found:
                mask = one.mask if one.status == "mask" else None
                scores[one.class_name].add(mask, known[one.class_name], one.score, one.presence)
    return 100 * float(np.mean([one.iou for one in scores.values() if one.iou is not None]))


def commit(out: Path, files: Sequence[Path], answered: dict[str, list[Answer]], digest: str) -> None:
    rows = [ImageAnswers(str(file), "1", answered[file.stem]) for file in files]
    with Lease(str(out), digest) as lease:
        writer = ShardWriter(catalogues.load(str(out), keep=True), lease)
        writer.commit(records.to_table(rows, Provenance(MODEL, digest, "params", digest)))


def mend(out: Path) -> set[str]:
    """Every answer of the ten pictures gets the verdict that its truth asks for; returns the pictures."""
    session = Session(str(out), MENDED)
    for image_id, picture in session.pictures.items():
        known, made = truth(Path(picture.image_uri).stem), []
        for row in picture.rows:
            mask = known[row["class_name"]]
            rle = records.encode_mask(mask) if mask.any() else None
            verdict = ("mended" if rle else "not_there") if row["status"] == "mask" else ("missing" if rle else "right")
            made.append((row["class_name"], verdicts.answer_digest(row), verdict, rle))
        session.judge(image_id, "truth", made)
    return {Path(one.image_uri).stem for one in session.pictures.values()}


def gain(seed: int, model: object, folder: Path) -> tuple[float, float]:
    """mIoU of the rest before and after."""
    rng = np.random.default_rng(seed)
    files = [file for file in sorted((DATA / "images").glob("*.jpg"))]
    rng.shuffle(files)  # type: ignore[arg-type]
    shown: dict[str, list[Path]] = {name: [] for name in classes().values()}
    for file in files:
        there = [name for name, mask in truth(file.stem).items() if mask.any()]
        if len(there) == 1 and len(shown[there[0]]) < SHOTS:
            shown[there[0]].append(file)
    used = {file.stem for some in shown.values() for file in some}
    content = {
        "name": "steel",
        "classes": [{"name": name, "exemplars": [str(file) for file in some]} for name, some in shown.items()],
    }
    document, out = folder / "set.yaml", folder / "out"
    document.write_text(yaml.safe_dump(content))
    collection = [file for file in files if file.stem not in used][:LIMIT]
    first = exemplars.load(str(document))
    before = answers(model.with_exemplars(first), collection)  # type: ignore[attr-defined]
    commit(out, collection, before, first.digest)
    mended = mend(out)
    list(adding.add(str(document), str(out)))
    after = answers(model.with_exemplars(exemplars.load(str(document))), collection)  # type: ignore[attr-defined]
    return mean_iou(before, mended), mean_iou(after, mended)


def measure(seeds: Sequence[int] = SEEDS) -> list[Row]:
    what = "mIoU of the rest gained by mending ten answers"
    if not DATA.is_dir():
        return [Row(what, None, "points", ">= 5", inputs=f"{DATA} is missing")]
    model = load_model(MODEL, "cpu")
    rows = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            before, after = gain(seed, model, Path(folder))
        inputs = f"from {before:.1f} to {after:.1f}, {LIMIT - MENDED} pictures, {SHOTS} exemplars a class, seed {seed}"
        rows.append(Row(what, after - before, "points", ">= 5", inputs=inputs))
    return rows


if __name__ == "__main__":
    import sys

    for row in measure([int(one) for one in sys.argv[1:]] or SEEDS):
        print(f"{row.what}: {row.value:.1f} {row.unit} {row.aim} ({row.inputs})", flush=True)
