"""Banks: pictures and what the frozen backbone makes of them, computed once and mapped into memory by every training.

Shapes: N pictures, S pixels a side, C channels of a map, h x w its grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tlg.network.backbones.backbone import Backbone
from tlg.network.reading.head import read_maps
from tlg.pictures.network_input import to_network_input
from tlg.recipes.photo.config import BankStage, DataStage
from tlg.recipes.photo.drawing import Labelled
from tlg.recipes.photo.flaws import Factory
from tlg.recipes.photo.photographs import (
    all_photographs,
    base_photographs,
    label_map,
    pixels,
    resized_label,
)
from tlg.recipes.photo.pictures import PhotoPictures, crowd, crowd_kinds

# Shares of a picture's side that a pasted object takes.
LARGE, SMALL = (0.15, 0.5), (0.08, 0.25)
PICTURES_AT_ONCE = 4
DONE_FILE = "done"
# Streams of randomness that must not meet.
PHOTO_STREAM, DRAWN_STREAM, KINDS_STREAM, FACTORY_STREAM = range(4)

Make = Callable[[np.random.Generator], Labelled]


@dataclass(frozen=True)
class Bank:
    """`maps` are the ones that the reading head relates, float16 (N,C,h,w), on disk; `labels` int16 (L,S/2,S/2).

    `rows` tells where in the maps a label map's picture is: a bank may leave pictures out.
    """

    maps: list[np.ndarray]
    labels: np.ndarray
    rows: list[int]

    def __len__(self) -> int:
        return len(self.rows)


def photo_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, backbone: Backbone) -> Bank:
    """Pictures made of a fold's photographs."""
    counts = stage.photo
    made = PhotoPictures(base_photographs(data, fold), data.whole_things, stage.side)
    makers: list[Make] = [
        *[lambda rng: made.paste(rng, LARGE)] * counts.paste,
        *[lambda rng: made.paste(rng, SMALL)] * counts.small_paste,
        *[made.mosaic] * counts.mosaic,
        *[made.zoom] * counts.zoom,
    ]
    return made_bank(folder, makers, [stage.seed, PHOTO_STREAM], stage.side, backbone)


def drawn_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, backbone: Backbone) -> Bank:
    """Crowds of drawn objects, then flawed surfaces, some of them pieces of a fold's indexed photographs."""
    counts = stage.drawn
    kinds = crowd_kinds(np.random.default_rng([stage.seed, KINDS_STREAM]), counts.kinds)
    photographs = [one for one in base_photographs(data, fold) if one.group is None]
    makers: list[Make] = [lambda rng: crowd(rng, kinds, stage.side)] * counts.crowds
    for number in range(counts.factories):
        factory = Factory([stage.seed, FACTORY_STREAM], number, photographs, data.surfaces, stage.side)
        makers += [factory.picture] * counts.pictures_of_each
    return made_bank(folder, makers, [stage.seed, DRAWN_STREAM], stage.side, backbone)


def made_bank(folder: Path, makers: Sequence[Make], seed: list[int], side: int, backbone: Backbone) -> Bank:
    """Every picture has randomness of its own, so a bank that was stopped goes on where it was."""
    half = side // 2
    labels = opened(folder / "labels.npy", np.int16, (len(makers), half, half))

    def keep(numbers: range) -> list[np.ndarray]:
        made = [makers[number](np.random.default_rng([*seed, number])) for number in numbers]
        for number, one in zip(numbers, made, strict=True):
            labels[number] = resized_label(np.ascontiguousarray(one.label), (half, half))
        return [one.image for one in made]

    return Bank(kept_maps(folder, len(makers), keep, side, backbone), labels, list(range(len(makers))))


def plain_maps(folder: Path, data: DataStage, side: int, backbone: Backbone) -> list[np.ndarray]:
    """Maps of all photographs as they are, for every fold: no label map is opened."""
    photographs = all_photographs(data)
    return kept_maps(
        folder, len(photographs), lambda numbers: [pixels(photographs[number]) for number in numbers], side, backbone
    )


def plain_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, backbone: Backbone) -> Bank:
    """A fold's photographs as they are."""
    maps, half = plain_maps(folder, data, stage.side, backbone), stage.side // 2
    allowed = base_photographs(data, fold)
    row_of = {one: row for row, one in enumerate(all_photographs(data))}
    labels = np.stack([resized_label(label_map(one), (half, half)) for one in allowed])
    return Bank(maps, labels, [row_of[one] for one in allowed])


def kept_maps(
    folder: Path, count: int, images: Callable[[range], list[np.ndarray]], side: int, backbone: Backbone
) -> list[np.ndarray]:
    """The maps of pictures 0 to `count`; those that the folder lacks are computed."""
    backbone = backbone.to(memory_format=torch.channels_last)  # many times faster on a CPU
    shapes = [one.shape[1:] for one in read(backbone, [np.zeros((side, side, 3), np.uint8)], side)]
    arrays = [opened(folder / f"map{n}.npy", np.float16, (count, *shape)) for n, shape in enumerate(shapes)]
    progress = folder / DONE_FILE
    done = int(progress.read_text()) if progress.exists() else 0
    for start in range(done, count, PICTURES_AT_ONCE):
        numbers = range(start, min(start + PICTURES_AT_ONCE, count))
        for array, maps in zip(arrays, read(backbone, images(numbers), side), strict=True):
            array[numbers.start : numbers.stop] = maps.numpy()
        progress.write_text(str(numbers.stop))
    return arrays


@torch.inference_mode()
def read(backbone: Backbone, images: Sequence[np.ndarray], side: int) -> list[Tensor]:
    """The maps that the reading head relates."""
    inputs = torch.stack([to_network_input(np.ascontiguousarray(one), side) for one in images])
    maps = backbone.encode(inputs.contiguous(memory_format=torch.channels_last)).maps
    return [maps[index] for index in read_maps(backbone)]


def opened(file: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """An array on disk, made where it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        return np.lib.format.open_memmap(file, "r+")
    return np.lib.format.open_memmap(file, "w+", dtype, shape)
