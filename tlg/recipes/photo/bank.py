"""Banks: pictures and what the frozen backbone makes of them, computed once and mapped into memory by every training.

Shapes: N pictures, S pixels a side, C channels of a map, h x w its grid, M classes, n x n the grid of names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tlg.evidence.names.classifier import ClassifierNames, reads_names
from tlg.evidence.names.evidence import NameEvidence
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.network.reading.head import read_maps
from tlg.pictures.network_input import to_network_input
from tlg.recipes.photo.config import BankStage, DataStage
from tlg.recipes.photo.drawing import Labelled
from tlg.recipes.photo.flaws import Factory
from tlg.recipes.photo.photographs import (
    all_photographs,
    base_photographs,
    class_names,
    label_map,
    pixels,
    resized_label,
)
from tlg.recipes.photo.pictures import PhotoPictures, crowd, crowd_kinds

# Shares of a picture's side that a pasted object takes.
LARGE, SMALL = (0.15, 0.5), (0.08, 0.25)
PICTURES_AT_ONCE = 4
DONE_FILE = "done"
# What names say of a picture is kept on a grid of so many cells a side.
NAME_CELLS = 24
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
    names: BankNames

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class BankNames:
    """What the backbone's classifier says of the names of `classes`, in their order: probabilities, and log-odds."""

    classes: tuple[int, ...]
    place: np.ndarray  # float16 (N,M,n,n), the probability that a place shows the class
    picture: np.ndarray  # float32 (N,M), the log-odds that the picture does


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
    return made_bank(folder, makers, [stage.seed, PHOTO_STREAM], stage.side, backbone, class_names(data))


def drawn_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, backbone: Backbone) -> Bank:
    """Crowds of drawn objects, then flawed surfaces, some of them pieces of a fold's indexed photographs."""
    counts = stage.drawn
    kinds = crowd_kinds(np.random.default_rng([stage.seed, KINDS_STREAM]), counts.kinds)
    photographs = [one for one in base_photographs(data, fold) if one.group is None]
    makers: list[Make] = [lambda rng: crowd(rng, kinds, stage.side)] * counts.crowds
    for number in range(counts.factories):
        factory = Factory([stage.seed, FACTORY_STREAM], number, photographs, data.surfaces, stage.side)
        makers += [factory.picture] * counts.pictures_of_each
    return made_bank(folder, makers, [stage.seed, DRAWN_STREAM], stage.side, backbone, class_names(data))


def made_bank(
    folder: Path, makers: Sequence[Make], seed: list[int], side: int, backbone: Backbone, names: Mapping[int, str]
) -> Bank:
    """Every picture has randomness of its own, so a bank that was stopped goes on where it was."""
    half = side // 2
    labels = opened(folder / "labels.npy", np.int16, (len(makers), half, half))

    def keep(numbers: range) -> list[np.ndarray]:
        made = [makers[number](np.random.default_rng([*seed, number])) for number in numbers]
        for number, one in zip(numbers, made, strict=True):
            labels[number] = resized_label(np.ascontiguousarray(one.label), (half, half))
        return [one.image for one in made]

    maps, said = kept_maps(folder, len(makers), keep, side, backbone, names)
    return Bank(maps, labels, list(range(len(makers))), said)


def plain_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, backbone: Backbone) -> Bank:
    """A fold's photographs as they are. Every fold shares the maps of all of them: no label map is opened for these."""
    everything, half = all_photographs(data), stage.side // 2

    def read_pixels(numbers: range) -> list[np.ndarray]:
        return [pixels(everything[number]) for number in numbers]

    maps, said = kept_maps(folder, len(everything), read_pixels, stage.side, backbone, class_names(data))
    allowed = base_photographs(data, fold)
    row_of = {photograph: row for row, photograph in enumerate(everything)}
    labels = np.stack([resized_label(label_map(one), (half, half)) for one in allowed])
    return Bank(maps, labels, [row_of[photograph] for photograph in allowed], said)


def kept_maps(
    folder: Path,
    count: int,
    images: Callable[[range], list[np.ndarray]],
    side: int,
    backbone: Backbone,
    names: Mapping[int, str],
) -> tuple[list[np.ndarray], BankNames]:
    """The maps of pictures 0 to `count`, and what names say there; what the folder lacks is computed."""
    backbone = backbone.to(memory_format=torch.channels_last)  # many times faster on a CPU
    known, source = known_names(backbone, names)
    shapes = [
        level.shape[1:] for level in read(encode(backbone, [np.zeros((side, side, 3), np.uint8)], side), backbone)
    ]
    arrays = [opened(folder / f"map{n}.npy", np.float16, (count, *shape)) for n, shape in enumerate(shapes)]
    said = kept_names(folder, count, known)
    progress = folder / DONE_FILE
    done = int(progress.read_text()) if progress.exists() else 0
    for start in range(done, count, PICTURES_AT_ONCE):
        numbers = range(start, min(start + PICTURES_AT_ONCE, count))
        features = encode(backbone, images(numbers), side)
        for array, level in zip(arrays, read(features, backbone), strict=True):
            array[numbers.start : numbers.stop] = level.numpy()
        if source is not None:
            said.place[numbers.start : numbers.stop], said.picture[numbers.start : numbers.stop] = say(source, features)
        progress.write_text(str(numbers.stop))
    return arrays, said


def kept_names(folder: Path, count: int, known: tuple[int, ...]) -> BankNames:
    place, picture = (count, len(known), NAME_CELLS, NAME_CELLS), (count, len(known))
    if not known:
        # A file cannot hold an array without entries.
        return BankNames(known, np.zeros(place, np.float16), np.zeros(picture, np.float32))
    return BankNames(
        known, opened(folder / "names.npy", np.float16, place), opened(folder / "odds.npy", np.float32, picture)
    )


def known_names(backbone: Backbone, names: Mapping[int, str]) -> tuple[tuple[int, ...], NameEvidence | None]:
    """The classes whose names the backbone's own classifier knows, and the classifier asked for them."""
    if not reads_names(backbone):
        return (), None
    grid = (NAME_CELLS, NAME_CELLS)
    every = ClassifierNames(backbone, list(names.values()), grid)
    known = tuple(index for index, is_known in zip(names, every.known, strict=True) if is_known)
    return known, ClassifierNames(backbone, [names[index] for index in known], grid)


def say(source: NameEvidence, features: Features) -> tuple[np.ndarray, np.ndarray]:
    """(P,M,n,n) and (P,M) of P pictures."""
    seen = source.see(torch.empty(0), features)
    place = [[source.map(seen[[row]], index) for index in range(len(source.known))] for row in range(len(features))]
    return torch.stack([torch.stack(maps) for maps in place]).numpy(), source.odds(seen).numpy()


@torch.inference_mode()
def encode(backbone: Backbone, images: Sequence[np.ndarray], side: int) -> Features:
    inputs = torch.stack([to_network_input(np.ascontiguousarray(image), side) for image in images])
    return backbone.encode(inputs.contiguous(memory_format=torch.channels_last))


def read(features: Features, backbone: Backbone) -> list[Tensor]:
    """The maps that the reading head relates."""
    return [features.maps[index] for index in read_maps(backbone)]


def opened(file: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """An array on disk, made where it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        return np.lib.format.open_memmap(file, "r+")
    return np.lib.format.open_memmap(file, "w+", dtype, shape)
