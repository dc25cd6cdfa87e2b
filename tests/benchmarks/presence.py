"""Does the default model's recipe tell whether a photograph shows a class, from one exemplar and the class's name?

Every fold of Microsoft Research Cambridge v2 is asked with the weights that saw none of its photographs or classes
(`make accuracy ONLY=photographs` trains them): each of its classes, with exemplars drawn anew several times, of each of
its photographs. `python tests/benchmarks/presence.py --models PATTERN` for weights elsewhere.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness import Row
from PIL import Image

from tlg.annotators import network as annotator_module
from tlg.annotators.network import NetworkModel
from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars
from tlg.hub import zoo
from tlg.pictures import Picture
from tlg.recipes.tiny.evaluate import roc_auc

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTION = REPOSITORY.parent / "shared" / "data" / "msrc_v2"
MODELS = str(REPOSITORY / "runs" / "tlg-photo" / "fold-{fold}" / "tlg-photo")
DRAWS = 3
SHOTS = (1, 5)
BINS = 10
AT_ONCE = 4
LEAST_AUC, MOST_ERROR = 0.985, 0.08


@dataclass(frozen=True)
class Told:
    """Of one class and draw: presence in each photograph, and whether the photograph shows the class."""

    is_known: bool
    presence: np.ndarray
    truth: np.ndarray


class Fold:
    def __init__(self, fold: str) -> None:
        listed = json.loads((COLLECTION / "episodes.json").read_text())["folds"][fold]
        names = json.loads((COLLECTION / "classes.json").read_text())
        self.classes = {int(number): names[str(number)] for number in listed["novel_classes"]}
        episodes = [*listed["1_shot"], *listed["5_shot"]]
        self.photographs = sorted({name for one in episodes for name in (one["query"], *one["support"])})
        self.shown = {name: set(np.unique(self.label_map(name)).tolist()) for name in self.photographs}

    def label_map(self, name: str) -> np.ndarray:
        with Image.open(COLLECTION / "labels" / f"{name}.png") as file:
            return np.asarray(file)

    def pixels(self, name: str) -> np.ndarray:
        (path,) = (COLLECTION / "images").glob(f"{name}.*")
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"))

    def exemplars(self, rng: np.random.Generator, shots: int) -> tuple[LoadedExemplars, set[str]]:
        """As a user gives them, and the photographs that they are."""
        classes, used = [], set()
        for index, (number, name) in enumerate(self.classes.items(), 1):
            showing = [photo for photo in self.photographs if number in self.shown[photo]]
            chosen = rng.choice(showing, shots, replace=False).tolist()
            used |= set(chosen)
            shown = tuple(LoadedExemplar(photo, self.pixels(photo)) for photo in chosen)
            classes.append(LoadedClass(name, index, None, (), shown))
        return LoadedExemplars("presence", tuple(classes), (), "presence"), used


def told(fold: str, models: str, shots: int, draws: int) -> Iterator[Told]:
    of_fold, loaded = Fold(fold), NetworkModel(zoo.load(models.format(fold=fold), "cpu"))
    for draw in range(draws):
        exemplars, used = of_fold.exemplars(np.random.default_rng([draw, shots, int(fold)]), shots)
        annotator = loaded.with_exemplars(exemplars)
        asked = [photo for photo in of_fold.photographs if photo not in used]
        rows = []
        for start in range(0, len(asked), AT_ONCE):
            pixels = [of_fold.pixels(photo) for photo in asked[start : start + AT_ONCE]]
            answers = annotator.annotate([Picture(one, *one.shape[:2]) for one in pixels])
            rows += [[answer.presence for answer in of_picture] for of_picture in answers]
        presence = np.array(rows, float)
        for place, number in enumerate(of_fold.classes):
            truth = np.array([number in of_fold.shown[photo] for photo in asked])
            is_known = annotator.names is not None and annotator.trusted[place]
            yield Told(is_known, presence[:, place], truth)


def calibration_error(presence: np.ndarray, truth: np.ndarray) -> float:
    """How far, on average, a stated probability is from the share of photographs that show the class."""
    bins = np.minimum((presence * BINS).astype(int), BINS - 1)
    parts = [bins == number for number in range(BINS) if (bins == number).any()]
    return float(sum(part.mean() * abs(presence[part].mean() - truth[part].mean()) for part in parts))


@torch.inference_mode()
def measure(models: str = MODELS, draws: int = DRAWS) -> list[Row]:
    annotator_module.PRESENT = 2.0  # no mask is made
    rows = []
    for shots in SHOTS:
        every = [one for fold in ("0", "1", "2") for one in told(fold, models, shots, draws)]
        inputs = f"msrc_v2, {len(every) // draws} classes, {draws} draws"
        what = f"presence from {shots} exemplar{'s' * (shots > 1)}"
        for words, listed in (("a known name", [one for one in every if one.is_known]), ("any name", every)):
            auc = float(np.mean([roc_auc(one.presence, one.truth) for one in listed]))
            aim = f">= {LEAST_AUC}" if (shots, words) == (1, "a known name") else ""
            rows.append(Row(f"{what} and {words}: ROC-AUC", auc, "", aim, inputs=inputs))
            told_of, truth = (
                np.concatenate(part) for part in zip(*((one.presence, one.truth) for one in listed), strict=True)
            )
            error, aim = calibration_error(told_of, truth), f"<= {MOST_ERROR}"
            rows.append(Row(f"{what} and {words}: expected calibration error", error, "", aim, inputs=inputs))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=MODELS, help="model folders, {fold} for the fold")
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args()
    for row in measure(options.models, options.draws):
        print(f"{row.what}: {row.value:.4f} (aim {row.aim}; {row.inputs})", flush=True)
