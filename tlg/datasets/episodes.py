"""Collections of labelled photographs, and the few-shot episodes drawn from them.

A collection knows, per image, which classes it shows (the image-level label) without giving away where:
`image` and `label_map` are separate, so that answering an episode can be kept from ever opening a label map.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from tlg.errors import InputError, SpecError

BACKGROUND = 0
IGNORED = 255  # Pixels of no known class; they count neither in a loss nor in a score.


@dataclass(frozen=True)
class Photo:
    """One image of a collection. `classes` is its image-level label."""

    id: str
    image: Path
    classes: frozenset[int]


class Collection(Protocol):
    """Photographs with index label maps: 0 background, 1.. classes, 255 ignored."""

    @property
    def name(self) -> str: ...

    @property
    def class_names(self) -> dict[int, str]: ...

    @property
    def photos(self) -> Sequence[Photo]: ...

    def label_map(self, photo: Photo) -> np.ndarray:
        """(H, W) uint8 at the image's own size."""


@dataclass(frozen=True)
class Episode:
    """Segment `class_id` in the query, given supports that carry only the class's name."""

    class_id: int
    query: Photo
    supports: tuple[Photo, ...]


def open_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: {error}; expected a readable image of the collection") from None


def open_index_map(path: Path) -> np.ndarray:
    """(H, W) uint8 of a palette or grey PNG, its values untouched."""
    try:
        with Image.open(path) as file:
            if file.mode not in ("P", "L"):
                raise InputError(f"{path}: a {file.mode} image; expected an index label map (palette or grey PNG)")
            return np.asarray(file)
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: {error}; expected an index label map (palette or grey PNG)") from None


def photos_of(photos: Iterable[Photo], class_id: int) -> list[Photo]:
    return [photo for photo in photos if class_id in photo.classes]


def without_classes(photos: Iterable[Photo], class_ids: Iterable[int]) -> list[Photo]:
    """The photographs that show none of `class_ids`: what may be trained on when those are novel."""
    banned = frozenset(class_ids)
    return [photo for photo in photos if not photo.classes & banned]


def queries_in_list_order(
    photos: Sequence[Photo], class_ids: Sequence[int], shots: int, count: int, seed: int
) -> list[Episode]:
    """The published protocol of Pascal-5i and FSS-1000: queries class by class in list order, over again until
    `count` is reached; supports drawn from the query's class without the query."""
    rng = random.Random(seed)
    of_class = {class_id: photos_of(photos, class_id) for class_id in class_ids}
    queries = [(class_id, photo) for class_id in class_ids for photo in of_class[class_id]]
    _require_enough(of_class, shots)
    chosen = (queries[index % len(queries)] for index in range(count))
    return [Episode(c, query, _draw_supports(rng, of_class[c], query, shots)) for c, query in chosen]


def queries_at_random(
    photos: Sequence[Photo], class_ids: Sequence[int], shots: int, count: int, seed: int
) -> list[Episode]:
    """The published protocol of COCO-20i: a class at random, then a query and supports of it."""
    rng = random.Random(seed)
    of_class = {class_id: photos_of(photos, class_id) for class_id in class_ids}
    _require_enough(of_class, shots)
    episodes = []
    for _ in range(count):
        class_id = rng.choice(list(class_ids))
        query = rng.choice(of_class[class_id])
        episodes.append(Episode(class_id, query, _draw_supports(rng, of_class[class_id], query, shots)))
    return episodes


def _require_enough(of_class: dict[int, list[Photo]], shots: int) -> None:
    for class_id, photos in of_class.items():
        if len(photos) <= shots:
            raise SpecError(
                f"class {class_id} has {len(photos)} photographs, {shots}-shot episodes need at least {shots + 1};"
                " check the data folder or ask for fewer shots"
            )


def _draw_supports(rng: random.Random, photos: list[Photo], query: Photo, shots: int) -> tuple[Photo, ...]:
    others = [photo for photo in photos if photo is not query]
    return tuple(rng.sample(others, shots))


@dataclass(frozen=True)
class EpisodesFile:
    """Episodes fixed in a JSON file: per fold `novel_classes`, and lists named `<shots>_shot` whose entries have
    `class`, `query` and `support` (the ids of photographs)."""

    path: Path
    folds: dict[str, dict]

    @classmethod
    def read(cls, path: Path) -> EpisodesFile:
        try:
            folds = json.loads(path.read_text())["folds"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpecError(f"{path}: {error!r}; expected a JSON file with `folds`") from None
        return cls(path, {str(name): content for name, content in folds.items()})

    def novel_classes(self, fold: str) -> list[int]:
        return list(self._fold(fold)["novel_classes"])

    def photo_ids(self, fold: str) -> frozenset[str]:
        """Every photograph that a fold's episodes use."""
        lists = [entries for key, entries in self._fold(fold).items() if key.endswith("_shot")]
        return frozenset(name for entries in lists for entry in entries for name in [entry["query"], *entry["support"]])

    def episodes(self, fold: str, shots: int, find: Callable[[str], Photo]) -> list[Episode]:
        """`find` gives a photograph by its id."""
        content = self._fold(fold)
        if f"{shots}_shot" not in content:
            known = sorted(key for key in content if key.endswith("_shot"))
            raise SpecError(f"{self.path}: fold {fold} has no {shots}_shot list; it has {', '.join(known)}")
        return [
            Episode(entry["class"], find(entry["query"]), tuple(find(name) for name in entry["support"]))
            for entry in content[f"{shots}_shot"]
        ]

    def _fold(self, fold: str) -> dict:
        if fold not in self.folds:
            raise SpecError(f"{self.path}: no fold {fold!r}; it has {', '.join(sorted(self.folds))}")
        return self.folds[fold]
