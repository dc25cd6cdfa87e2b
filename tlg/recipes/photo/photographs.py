"""The photographs to learn from, with their label maps, less whatever a fold is judged on.

A label map holds the class of every pixel: 0 is background, UNKNOWN is anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from tlg.errors import SpecError
from tlg.recipes.photo.config import DataStage

UNKNOWN = -1
# Class ids of the groups of pairs start here, above those of every indexed label map.
FIRST_GROUP = 100
NO_FOLD = "none"
REMEMBERED = 256


@dataclass(frozen=True)
class Photograph:
    """`group` is the class of a pair's object; an indexed label map names its classes itself (None)."""

    image: Path
    label: Path
    group: int | None = None

    @property
    def id(self) -> str:
        return self.image.stem if self.group is None else f"{self.image.parent.name}/{self.image.stem}"


def all_photographs(data: DataStage) -> list[Photograph]:
    """Those of pairs, then the indexed ones, in the order of their names. No label map is opened."""
    groups = sorted(folder for folder in data.pairs.iterdir() if folder.is_dir())
    pairs = [
        Photograph(image, image.with_suffix(".png"), FIRST_GROUP + number)
        for number, folder in enumerate(groups)
        for image in sorted(folder.glob("*.jpg"))
    ]
    indexed = [
        Photograph(image, data.indexed / "labels" / f"{image.stem}.png")
        for image in sorted((data.indexed / "images").iterdir())
    ]
    if not pairs or not indexed:
        raise SpecError(f"no photographs in {data.pairs} or in {data.indexed}/images; check the recipe's data folders")
    return [*pairs, *indexed]


def class_names(data: DataStage) -> dict[int, str]:
    """Every class's name: as the label maps' list has it, or the folder of a group of pairs less its number."""
    listed = json.loads((data.indexed / "classes.json").read_text())
    indexed = {int(index): name for index, name in listed.items() if int(index) > 0}
    groups = sorted(folder.name for folder in data.pairs.iterdir() if folder.is_dir())
    return indexed | {
        FIRST_GROUP + number: " ".join(word for word in name.split("_") if not word.isdigit())
        for number, name in enumerate(groups)
    }


def base_photographs(data: DataStage, fold: str) -> list[Photograph]:
    """The photographs that a fold may learn from.

    The photographs of its episodes are left out unseen, then every other photograph that shows a class of the fold.
    """
    everything = all_photographs(data)
    if fold == NO_FOLD:
        return everything
    asked, novel = judged_by(data, fold)
    allowed = [photograph for photograph in everything if photograph.group is not None or photograph.id not in asked]
    return [
        photograph for photograph in allowed if photograph.group is not None or novel.isdisjoint(classes_in(photograph))
    ]


def judged_by(data: DataStage, fold: str) -> tuple[set[str], set[int]]:
    """Ids of the photographs in a fold's episodes, and the fold's classes."""
    folds = json.loads((data.indexed / "episodes.json").read_text())["folds"]
    if fold not in folds:
        raise SpecError(f"fold {fold!r} is not in {data.indexed}/episodes.json; choose {NO_FOLD} or {', '.join(folds)}")
    episodes = [episode for key, listed in folds[fold].items() if key.endswith("_shot") for episode in listed]
    ids = {name for episode in episodes for name in (episode["query"], *episode["support"])}
    return ids, set(folds[fold]["novel_classes"])


def classes_in(photograph: Photograph) -> set[int]:
    return {int(class_id) for class_id in np.unique(label_map(photograph)) if class_id > 0}


@lru_cache(REMEMBERED)
def label_map(photograph: Photograph) -> np.ndarray:
    """(H, W) int16"""
    with Image.open(photograph.label) as file:
        if photograph.group is not None:
            return np.where(np.asarray(file.convert("L")) > 127, photograph.group, 0).astype(np.int16)
        indexed = np.array(file).astype(np.int16)
    indexed[indexed == 0] = UNKNOWN
    return indexed


@lru_cache(REMEMBERED)
def picture(photograph: Photograph) -> Image.Image:
    """At the label map's size."""
    height, width = label_map(photograph).shape
    with Image.open(photograph.image) as file:
        image = file.convert("RGB")
    return image if image.size == (width, height) else image.resize((width, height))


def pixels(photograph: Photograph) -> np.ndarray:
    """(H, W, 3) uint8, whatever the label map."""
    with Image.open(photograph.image) as file:
        return np.asarray(file.convert("RGB"))


def resized_label(label_HW: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """At (width, height)."""
    return np.asarray(Image.fromarray(label_HW).resize((size[0], size[1]), Image.Resampling.NEAREST))
