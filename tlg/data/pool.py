"""Base photographs of several collections as one pool with one numbering of classes, and augmented views of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from tlg.data.episodes import IGNORED, Collection, Photo, open_image
from tlg.images import to_network_input

UNKNOWN = -1  # In a pool's label maps: pixels of no known class.
PLAIN, MIRRORED = 0, 1  # The first two variants of every photograph are the same for all seeds.


@dataclass(frozen=True)
class PoolClass:
    name: str
    source: int
    photos: tuple[int, ...]  # positions in the pool


@dataclass(frozen=True)
class View:
    """One augmented photograph at the network's input size, and its label map at half of it."""

    image_3HW: Tensor
    label_HW: Tensor  # int16 pool classes, 0 background, UNKNOWN


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

    def open(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """The photograph (H, W, 3) and its label map (H, W) int32 in the pool's numbering."""
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
        return open_image(photo.image), label_HW


class Views:
    """Augmented views of a pool: variant v of a photograph is always the same picture, whoever asks and when."""

    def __init__(self, pool: Pool, side: int, seed: int, collage_share: float = 0.0) -> None:
        self.pool, self.side, self.seed, self.collage_share = pool, side, seed, collage_share

    def __call__(self, position: int, variant: int) -> View:
        image, label = (Image.fromarray(array) for array in self.pool.open(position))
        if variant == MIRRORED:
            image, label = mirrored(image), mirrored(label)
        elif variant != PLAIN:
            rng = random.Random(f"{self.seed}/{self.pool.entries[position][1].id}/{variant}")
            if rng.random() < self.collage_share:
                other_image, other_label = (Image.fromarray(a) for a in self.pool.open(rng.randrange(len(self.pool))))
                image, label = collage((image, label), (other_image, other_label), self.side, rng)
            else:
                image, label = random_crop(image, label, rng)
            if rng.random() < 0.5:
                image, label = mirrored(image), mirrored(label)
            image = random_colours(image, rng)
        half = self.side // 2
        small = np.array(label.resize((half, half), Image.Resampling.NEAREST), dtype=np.int16)
        return View(to_network_input(np.asarray(image), self.side), torch.from_numpy(small))


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def random_crop(image: Image.Image, label: Image.Image, rng: random.Random) -> tuple[Image.Image, Image.Image]:
    """A part of 35 to 100 % of each side, its aspect changed by up to a quarter."""
    width, height = image.size
    scale, stretch = rng.uniform(0.35, 1.0), rng.uniform(0.8, 1.25) ** 0.5
    w, h = min(width, max(1, int(width * scale / stretch))), min(height, max(1, int(height * scale * stretch)))
    left, top = rng.randint(0, width - w), rng.randint(0, height - h)
    box = (left, top, left + w, top + h)
    return image.crop(box), label.crop(box)


def random_colours(image: Image.Image, rng: random.Random) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.7, 1.3))
    return image


def collage(
    first: tuple[Image.Image, Image.Image], second: tuple[Image.Image, Image.Image], side: int, rng: random.Random
) -> tuple[Image.Image, Image.Image]:
    """Two photographs share one picture, so that only the exemplars tell which of two objects is meant."""
    share = rng.uniform(0.4, 0.6)
    cut, beside = int(side * share), rng.random() < 0.5
    boxes = [(0, 0, cut, side), (cut, 0, side, side)] if beside else [(0, 0, side, cut), (0, cut, side, side)]
    if rng.random() < 0.5:
        boxes.reverse()
    image, label = Image.new("RGB", (side, side)), Image.fromarray(np.zeros((side, side), np.int32))
    for (part_image, part_label), box in zip((first, second), boxes, strict=True):
        size = (box[2] - box[0], box[3] - box[1])
        image.paste(part_image.resize(size, Image.Resampling.BILINEAR), box)
        label.paste(part_label.resize(size, Image.Resampling.NEAREST), box)
    return image, label
