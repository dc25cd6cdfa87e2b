"""Pictures in which nothing stands out by itself: objects pasted onto photographs, mosaics, zooms, drawn crowds.

Shapes: S pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tlg.recipes.photo.drawing import Labelled, chance, pick, sample, whole
from tlg.recipes.photo.photographs import FIRST_GROUP, Photograph, classes_in, label_map, picture, resized_label
from tlg.world import BASE, index_of
from tlg.world.scenes import choose_background, develop, place, scatter_clutter
from tlg.world.textures import BACKGROUNDS

# Class ids of the world's kinds.
FIRST_KIND = 200
LEAST_SIDE = 6
FLIP = Image.Transpose.FLIP_LEFT_RIGHT


class PhotoPictures:
    """Pictures made of the given photographs. Objects of pairs and of `whole_things` are cut out."""

    def __init__(self, photographs: Sequence[Photograph], whole_things: Sequence[int], side: int) -> None:
        self.photographs, self.side = photographs, side
        self.showing: dict[int, list[Photograph]] = {}
        for photograph in photographs:
            for class_id in sorted(classes_in(photograph)):
                if class_id >= FIRST_GROUP or class_id in whole_things:
                    self.showing.setdefault(class_id, []).append(photograph)

    def paste(self, rng: np.random.Generator, sizes: tuple[float, float]) -> Labelled:
        """Cut-out objects on a photograph or a drawn surface; an object's longer side takes a share of the picture."""
        side = self.side
        image, label = self._ground(rng)
        classes = sample(rng, sorted(self.showing), whole(rng, 2, 4))
        for _ in range(whole(rng, 3, 8)):
            class_id = pick(rng, classes)
            cut, cover = self._object(rng, class_id)
            scale = side * rng.uniform(*sizes) / max(cut.size)
            width, height = (max(LEAST_SIDE, int(length * scale)) for length in cut.size)
            cut, cover = (layer.resize((width, height), Image.Resampling.BILINEAR) for layer in (cut, cover))
            if chance(rng, 0.5):
                cut, cover = cut.transpose(FLIP), cover.transpose(FLIP)
            if chance(rng, 0.3):
                turn = rng.uniform(-25, 25)
                cut, cover = (layer.rotate(turn, Image.Resampling.BILINEAR) for layer in (cut, cover))
            if width >= side or height >= side:
                continue
            x, y = whole(rng, 0, side - width), whole(rng, 0, side - height)
            opaque = np.asarray(cover, np.float32)[..., None] / 255
            under = image[y : y + height, x : x + width]
            laid = under + opaque * (in_other_light(rng, np.asarray(cut)).astype(np.float32) - under)
            image[y : y + height, x : x + width] = laid.astype(np.uint8)
            label[y : y + height, x : x + width][opaque[..., 0] > 0.5] = class_id
        return Labelled(image, label)

    def mosaic(self, rng: np.random.Generator) -> Labelled:
        """Two or three parts a side, each of another photograph; what the division leaves over stays black."""
        parts = pick(rng, (2, 2, 3))
        side = self.side // parts
        image, label = np.zeros((self.side, self.side, 3), np.uint8), np.zeros((self.side, self.side), np.int16)
        for top in range(0, parts * side, side):
            for left in range(0, parts * side, side):
                part = zoomed(rng, pick(rng, self.photographs), side, least=0.6)
                image[top : top + side, left : left + side] = part.image
                label[top : top + side, left : left + side] = part.label
        return Labelled(image, label)

    def zoom(self, rng: np.random.Generator) -> Labelled:
        return zoomed(rng, pick(rng, self.photographs), self.side, least=0.35)

    def _ground(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        side = self.side
        if chance(rng, 0.7):
            photograph = pick(rng, self.photographs)
            image = picture(photograph).resize((side, side), Image.Resampling.BILINEAR)
            return in_other_light(rng, np.asarray(image)), resized_label(label_map(photograph), (side, side)).copy()
        drawn = BACKGROUNDS[pick(rng, list(BACKGROUNDS))](rng, side)
        return np.clip(drawn * 255, 0, 255).astype(np.uint8), np.zeros((side, side), np.int16)

    def _object(self, rng: np.random.Generator, class_id: int) -> tuple[Image.Image, Image.Image]:
        """The largest connected part of a class in a photograph, and its cover."""
        photograph = pick(rng, self.showing[class_id])
        part = largest_part(label_map(photograph) == class_id)
        ys, xs = np.where(part)
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        cover = Image.fromarray((part * 255).astype(np.uint8))
        return picture(photograph).crop(box), cover.crop(box)


def zoomed(rng: np.random.Generator, photograph: Photograph, side: int, least: float) -> Labelled:
    """A part of at least this share of each side, mirrored or not, in another light."""
    image, label = picture(photograph), label_map(photograph)
    share = rng.uniform(least, 1)
    width, height = int(image.width * share), int(image.height * share)
    x, y = whole(rng, 0, image.width - width), whole(rng, 0, image.height - height)
    part = image.crop((x, y, x + width, y + height)).resize((side, side), Image.Resampling.BILINEAR)
    pixels, cut = np.asarray(part), resized_label(label[y : y + height, x : x + width], (side, side))
    if chance(rng, 0.5):
        pixels, cut = pixels[:, ::-1], cut[:, ::-1]
    return Labelled(in_other_light(rng, pixels), cut)


def in_other_light(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Contrast, brightness and cast changed; now and then without colour."""
    values = pixels.astype(np.float32)
    mean = values.mean()
    values = (values - mean) * rng.uniform(0.7, 1.3) + mean * rng.uniform(0.75, 1.2)
    if chance(rng, 0.15):
        values = values.mean(2, keepdims=True).repeat(3, 2)
    return np.clip(values * rng.uniform(0.92, 1.08, 3).astype(np.float32), 0, 255).astype(np.uint8)


def largest_part(mask_HW: np.ndarray) -> np.ndarray:
    """The largest of the parts that hang together along pixel edges: runs of a row join those they touch below."""
    framed = np.pad(mask_HW, ((0, 0), (1, 1)))
    width = framed.shape[1]
    edges = (np.flatnonzero(np.diff(framed.ravel())) + 1).tolist()
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    owner = list(range(len(runs)))

    def root(run: int) -> int:
        while owner[run] != run:
            owner[run] = owner[owner[run]]
            run = owner[run]
        return run

    first = 0
    for upper, (start, end) in enumerate(runs):
        while first < len(runs) and runs[first][1] <= start + width:
            first += 1
        below = first
        while below < len(runs) and runs[below][0] < end + width:
            owner[root(below)] = root(upper)
            below += 1
    sizes = [0] * len(runs)
    for run, (start, end) in enumerate(runs):
        sizes[root(run)] += end - start
    largest = sizes.index(max(sizes))
    part = np.zeros(framed.size, bool)
    for run, (start, end) in enumerate(runs):
        if root(run) == largest:
            part[start:end] = True
    return part.reshape(framed.shape)[:, 1:-1]


def crowd_kinds(rng: np.random.Generator, count: int) -> list[str]:
    return sample(rng, BASE, count)


def crowd(rng: np.random.Generator, kinds: Sequence[str], side: int) -> Labelled:
    """A drawn crowd of a few kinds, several objects of each."""
    wanted = sample(rng, kinds, whole(rng, 2, 4))
    canvas = BACKGROUNDS[choose_background(rng, wanted)](rng, side).astype(np.float32)
    scatter_clutter(rng, canvas)
    drawn = np.zeros((side, side), np.uint8)
    for _ in range(whole(rng, 3, 9)):
        place(rng, canvas, drawn, index_of(pick(rng, wanted)), crowd=3)
    label = np.where(drawn > 0, FIRST_KIND - 1 + drawn.astype(np.int16), 0).astype(np.int16)
    return Labelled(develop(rng, canvas), label)
