"""Pseudo-masks on disk, in the layouts that the published training sets use, and how to make them.

`per_class` (Pascal): `<image>--<class>.png`, one file per image and class.
`per_image` (COCO): `<image>.png`, all classes of an image in one file.
In both a pixel holds the class's position counted from 0 plus 1 (which is its id here), or 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from tlg.data.episodes import Collection, Photo, open_image, open_index_map, photos_of
from tlg.errors import InputError, SpecError
from tlg.images import to_network_input
from tlg.model.features import Features
from tlg.prior.exemplar import Prior

Layout = Literal["per_class", "per_image"]

EncodeImages = Callable[[torch.Tensor], Features]


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

    def write(self, image_id: str, masks: Mapping[int, np.ndarray], class_names: Mapping[int, str]) -> None:
        """All masks of one image by class id; in `per_image` a later class covers an earlier one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if max(masks, default=0) > 255:
            raise SpecError(f"class id {max(masks)} does not fit a PNG of 8 bits; these layouts hold ids up to 255")
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


def precompute(
    collection: Collection,
    photos: Sequence[Photo],
    encode: EncodeImages,
    side: int,
    prior: Prior,
    out: PseudoMasks,
    shots: int = 5,
    seed: int = 0,
) -> int:
    """Pseudo-masks for every photo and each of its image-level classes; returns how many were written.

    The exemplars of a class are other photos of it, drawn once; no label map is opened.
    """

    def features(photo: Photo) -> tuple[Features, torch.Tensor]:
        image = to_network_input(open_image(photo.image), side)[None]
        return encode(image), image

    found: dict[str, dict[int, np.ndarray]] = {photo.id: {} for photo in photos}
    for class_id in sorted({one for photo in photos for one in photo.classes}):
        showing = photos_of(photos, class_id)
        exemplars = random.Random(f"{seed}/{class_id}").sample(showing, min(shots, len(showing)))
        encoded = {photo.id: features(photo) for photo in exemplars}
        fitted = prior.fit([(encoded[photo.id][0], 0, None) for photo in exemplars])
        own = {photo.id: fitted.support_maps[row] for row, photo in enumerate(exemplars)}
        for photo in showing:
            # An exemplar must not vote for itself.
            map_HW = own[photo.id] if photo.id in own else fitted.maps(*features(photo))[0, 0]
            found[photo.id][class_id] = _at_size(map_HW, photo.image)
    for photo in photos:
        out.write(photo.id, found[photo.id], collection.class_names)
    return sum(len(masks) for masks in found.values())


def _at_size(map_HW: torch.Tensor, image: Path) -> np.ndarray:
    with Image.open(image) as file:
        width, height = file.size
    resized = F.interpolate(map_HW[None, None], size=(height, width), mode="bilinear", align_corners=False)
    return (resized[0, 0] > 0.5).cpu().numpy()


def _save(values: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
