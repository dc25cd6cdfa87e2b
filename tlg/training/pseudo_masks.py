"""Pseudo-masks on disk, in the layouts that the published training sets use, and how to make them.

`per_class` (Pascal): `<image>--<class>.png`, one file per image and class.
`per_image` (COCO): `<image>.png`, all classes of an image in one file.
In both a pixel holds the class's position counted from 0 plus 1 (which is its id here), or 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field

from tlg.datasets.episodes import BACKGROUND, Collection, Photo, open_image, open_index_map, photos_of
from tlg.documents import Document
from tlg.errors import InputError, SpecError
from tlg.evidence.exemplar import FittedPrior, Prior
from tlg.network.features import Features
from tlg.pictures import to_network_input

Layout = Literal["per_class", "per_image"]
HIGHEST_ID = 255

EncodeImages = Callable[[torch.Tensor], Features]


class PseudoMaskSpec(Document):
    """Where a training config finds pseudo-masks, or `tlg prior --dataset` puts them."""

    folder: str = Field(description="{fold} and {collection} in it become the fold's and the collection's name")
    layout: Layout = Field("per_class", description="Published sets: per_class for Pascal, per_image for COCO")

    def of(self, fold: str, collection: str) -> PseudoMasks:
        return PseudoMasks(Path(self.folder.replace("{fold}", fold).replace("{collection}", collection)), self.layout)

    def check_apart(self, folds: Sequence[str], collections: Sequence[str]) -> None:
        """Folds have other backgrounds, and collections may name photographs alike: each needs its own folder."""
        for names, place in ((folds, "{fold}"), (collections, "{collection}")):
            if len(names) > 1 and place not in self.folder:
                raise SpecError(
                    f"{self.folder}: pseudo-masks of {', '.join(names)} would share one folder; put {place} in the path"
                )


@dataclass(frozen=True)
class PseudoMasks:
    """A folder of pseudo-masks in one layout."""

    folder: Path
    layout: Layout

    def read(self, image_id: str, class_id: int, class_name: str) -> np.ndarray:
        """(h, w) bool. In `per_class` the file may carry the class's name or its position counted from 0."""
        for path in self._candidates(image_id, class_id, class_name):
            if path.exists():
                return open_index_map(path) == class_id
        wanted = self._candidates(image_id, class_id, class_name)[0]
        raise InputError(
            f"{wanted}: no pseudo-mask of '{class_name}' for {image_id}; make them with `tlg prior --dataset`"
        )

    def has(self, photo: Photo, class_names: Mapping[int, str]) -> bool:
        """Whether every class of the photograph has its mask."""
        return all(
            any(path.exists() for path in self._candidates(photo.id, class_id, class_names[class_id]))
            for class_id in photo.classes
        )

    def write(self, image_id: str, masks: Mapping[int, np.ndarray], class_names: Mapping[int, str]) -> None:
        """All masks of one image by class id; in `per_image` a later class covers an earlier one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        check_ids(masks)
        values = {class_id: mask.astype(np.uint8) * class_id for class_id, mask in masks.items()}
        if self.layout == "per_class":
            for class_id, value in values.items():
                _save(value, self._candidates(image_id, class_id, class_names[class_id])[0])
        elif values:
            merged = np.zeros_like(next(iter(values.values())))
            for value in values.values():
                merged = np.where(value > 0, value, merged)
            _save(merged, self.folder / f"{image_id}.png")

    def _candidates(self, image_id: str, class_id: int, class_name: str) -> list[Path]:
        if self.layout == "per_image":
            return [self.folder / f"{image_id}.png"]
        return [self.folder / f"{image_id}--{label}.png" for label in (class_name, class_id - 1)]


def check_ids(class_ids: Iterable[int]) -> None:
    highest = max(class_ids, default=0)
    if highest > HIGHEST_ID:
        raise SpecError(
            f"class id {highest} does not fit a PNG of 8 bits; these layouts hold ids up to {HIGHEST_ID}."
            " Train without pseudo-masks on disk: they are then made on the fly"
        )


def precompute(
    collection: Collection,
    photos: Sequence[Photo],
    encode: EncodeImages,
    side: int,
    prior: Prior,
    out: PseudoMasks,
    shots: int = 5,
    seed: int = 0,
    tracked: Callable[[Sequence[Photo]], Iterable[Photo]] = iter,
) -> int:
    """Pseudo-masks for every photo and each of its image-level classes; returns how many were written.

    The exemplars of a class are other photos of it, drawn once; no label map is opened. Photos whose masks lie there
    already are left out, so that a killed run goes on where it was.
    """

    def features(photo: Photo) -> tuple[Features, torch.Tensor]:
        image = to_network_input(open_image(photo.image), side)[None]
        return encode(image), image

    # Where a collection names its background, that is still no class: these layouts write it as 0.
    photos = [replace(photo, classes=photo.classes - {BACKGROUND}) for photo in photos]
    waiting = [photo for photo in photos if not out.has(photo, collection.class_names)]
    check_ids(class_id for photo in waiting for class_id in photo.classes)
    fitted: dict[int, FittedPrior] = {}
    own: dict[tuple[str, int], torch.Tensor] = {}
    for class_id in sorted({label for photo in waiting for label in photo.classes}):
        showing = photos_of(photos, class_id)
        exemplars = random.Random(f"{seed}/{class_id}").sample(showing, min(shots, len(showing)))
        fitted[class_id] = prior.fit([(features(photo)[0], 0, None) for photo in exemplars])
        own |= {(photo.id, class_id): fitted[class_id].support_maps[row] for row, photo in enumerate(exemplars)}
    written = 0
    for photo in tracked(waiting):
        query, image = features(photo)
        masks = {}
        for class_id in sorted(photo.classes):
            # An exemplar must not vote for itself.
            map_HW = own.get((photo.id, class_id))
            if map_HW is None:
                map_HW = fitted[class_id].maps(query, image.to(query.maps[0].device))[0, 0]
            masks[class_id] = _at_size(map_HW, photo.image)
        out.write(photo.id, masks, collection.class_names)
        written += len(masks)
    return written


def _at_size(map_HW: torch.Tensor, image: Path) -> np.ndarray:
    with Image.open(image) as file:
        width, height = file.size
    resized = F.interpolate(map_HW[None, None], size=(height, width), mode="bilinear", align_corners=False)
    return (resized[0, 0] > 0.5).cpu().numpy()


def _save(values: np.ndarray, path: Path) -> None:
    """Written aside first: a killed run leaves no half mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    Image.fromarray(values).save(aside, "PNG")
    aside.replace(path)
