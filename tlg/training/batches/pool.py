"""Base photographs of several collections as one pool with one numbering of classes, and augmented views of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from tlg.datasets.episodes import IGNORED, Collection, Photo, open_image
from tlg.pictures import to_network_input

UNKNOWN = -1  # In a pool's label maps: pixels of no known class.
PLAIN, MIRRORED = 0, 1  # The first two variants of every photograph are the same for all seeds.


@dataclass(frozen=True)
class PoolClass:
    name: str
    source: int
    photos: tuple[int, ...]  # positions in the pool


class Pool:
    """Photographs that may be trained on. Class ids are 1.. over all collections; nothing is opened before use."""

    def __init__(self, sources: Sequence[tuple[Collection, Sequence[Photo]]]) -> None:
        self.entries: list[tuple[Collection, Photo]] = []
        self.classes: dict[int, PoolClass] = {}
        self._ids: list[dict[int, int]] = []  # per source: a collection's class id -> the pool's
        for source, (collection, photos) in enumerate(sources):
            positions = {photo.id: len(self.entries) + offset for offset, photo in enumerate(photos)}
            self.entries += [(collection, photo) for photo in photos]
            ids = {}
            for class_id, name in sorted(collection.class_names.items()):
                shown_in = tuple(positions[photo.id] for photo in photos if class_id in photo.classes)
                if shown_in:
                    ids[class_id] = len(self.classes) + 1
                    self.classes[ids[class_id]] = PoolClass(name, source, shown_in)
            self._ids.append(ids)
        self._source_of = [source for source, (_, photos) in enumerate(sources) for _ in photos]

    def __len__(self) -> int:
        return len(self.entries)

    def label_map(self, position: int) -> np.ndarray:
        """(H, W) int32 in the pool's numbering."""
        collection, photo = self.entries[position]
        raw_HW = collection.label_map(photo)
        ids = self._ids[self._source_of[position]]
        table = np.zeros(int(raw_HW.max(initial=IGNORED)) + 1, np.int32)
        for class_id, pool_id in ids.items():
            if class_id < len(table):
                table[class_id] = pool_id
        label_HW = table[raw_HW]
        if IGNORED not in collection.class_names:
            label_HW[raw_HW == IGNORED] = UNKNOWN
        return label_HW


class Views:
    """Augmented views of a pool at the network's input size: variant v of a photograph is always the same picture,
    whoever asks and when, in whatever pool the photograph is."""

    def __init__(self, pool: Pool, side: int, seed: int) -> None:
        self.pool, self.side, self.seed = pool, side, seed

    def key(self, position: int, variant: int) -> str:
        """Names the view's picture: equal keys, equal pixels."""
        collection, photo = self.pool.entries[position]
        kind = variant if variant in (PLAIN, MIRRORED) else f"{variant} of seed {self.seed}"
        return f"{collection.name}/{photo.id}, variant {kind}, side {self.side}"

    def image(self, position: int, variant: int) -> Tensor:
        """(3, H, W), normalised."""
        image = Image.fromarray(open_image(self.pool.entries[position][1].image))
        rng = self._rng(position, variant)
        image = altered(image, variant, rng)
        if variant not in (PLAIN, MIRRORED):
            image = random_colours(image, rng)
        return to_network_input(np.asarray(image), self.side)

    def label(self, position: int, variant: int) -> Tensor:
        """(H / 2, W / 2) int16 pool classes, 0 background, UNKNOWN."""
        label = altered(Image.fromarray(self.pool.label_map(position)), variant, self._rng(position, variant))
        half = self.side // 2
        return torch.from_numpy(np.array(label.resize((half, half), Image.Resampling.NEAREST), dtype=np.int16))

    def _rng(self, position: int, variant: int) -> random.Random:
        return random.Random(f"{self.seed}/{self.pool.entries[position][1].id}/{variant}")


def altered(image: Image.Image, variant: int, rng: random.Random) -> Image.Image:
    """The variant's geometry, the same for a photograph and its label map."""
    if variant == PLAIN:
        return image
    if variant == MIRRORED:
        return mirrored(image)
    image = random_crop(image, rng)
    return mirrored(image) if rng.random() < 0.5 else image


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def random_crop(image: Image.Image, rng: random.Random) -> Image.Image:
    """A part of 35 to 100 % of each side, its aspect changed by up to a quarter."""
    width, height = image.size
    scale, stretch = rng.uniform(0.35, 1.0), rng.uniform(0.8, 1.25) ** 0.5
    w, h = min(width, max(1, int(width * scale / stretch))), min(height, max(1, int(height * scale * stretch)))
    left, top = rng.randint(0, width - w), rng.randint(0, height - h)
    return image.crop((left, top, left + w, top + h))


def random_colours(image: Image.Image, rng: random.Random) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.7, 1.3))
    return image
