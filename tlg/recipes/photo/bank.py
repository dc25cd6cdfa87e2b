"""Banks: pictures and what the frozen backbone makes of them, computed once and mapped into memory by every training.

Shapes: N pictures, S pixels a side, C channels of a map, h x w its grid, M classes, n x n the grid of names, s x s
that of the prior's maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.exemplar import Prior
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
# What names say of a picture is kept on a grid of so many cells a side.
NAME_CELLS = 24
# Maps of the exemplar prior, likewise.
OWN_CELLS = 48
# Streams of randomness that must not meet.
PHOTO_STREAM, DRAWN_STREAM, KINDS_STREAM, FACTORY_STREAM = range(4)

Make = Callable[[np.random.Generator], Labelled]


@dataclass(frozen=True)
class Bank:
    """`maps` are the ones that the reading head relates, float16 (N,C,h,w), on disk; `labels` int16 (N,S/2,S/2).

    `own` float16 (N,s,s) is what the exemplar prior makes of every picture alone, whatever class it is shown for.
    `taught` is what a classifier that did not learn from a picture says of the classes that are taught by name.
    """

    maps: list[np.ndarray]
    labels: np.ndarray
    names: BankNames
    own: np.ndarray
    taught: BankNames | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class BankNames:
    """What somebody says of the names of `classes`, in their order: probabilities, and log-odds."""

    classes: tuple[int, ...]
    place: np.ndarray  # float16 (N,M,n,n), the probability that a place shows the class
    picture: np.ndarray  # float32 (N,M), the log-odds that the picture does


def photo_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, witnesses: Witnesses) -> Bank:
    """Pictures made of a fold's photographs."""
    counts = stage.photo
    made = PhotoPictures(base_photographs(data, fold), data.whole_things, stage.side)
    makers: list[Make] = [
        *[lambda rng: made.paste(rng, LARGE)] * counts.paste,
        *[lambda rng: made.paste(rng, SMALL)] * counts.small_paste,
        *[made.mosaic] * counts.mosaic,
        *[made.zoom] * counts.zoom,
    ]
    return made_bank(folder, makers, [stage.seed, PHOTO_STREAM], stage.side, witnesses)


def drawn_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, witnesses: Witnesses) -> Bank:
    """Crowds of drawn objects, then flawed surfaces, some of them pieces of a fold's indexed photographs."""
    counts = stage.drawn
    kinds = crowd_kinds(np.random.default_rng([stage.seed, KINDS_STREAM]), counts.kinds)
    photographs = [photograph for photograph in base_photographs(data, fold) if photograph.group is None]
    makers: list[Make] = [lambda rng: crowd(rng, kinds, stage.side)] * counts.crowds
    for number in range(counts.factories):
        factory = Factory([stage.seed, FACTORY_STREAM], number, photographs, data.surfaces, stage.side)
        makers += [factory.picture] * counts.pictures_of_each
    return made_bank(folder, makers, [stage.seed, DRAWN_STREAM], stage.side, witnesses)


def made_bank(folder: Path, makers: Sequence[Make], seed: list[int], side: int, witnesses: Witnesses) -> Bank:
    """Every picture has randomness of its own, so a bank that was stopped goes on where it was."""
    half = side // 2
    labels = opened(folder / "labels.npy", np.int16, (len(makers), half, half))

    def keep(numbers: range) -> list[np.ndarray]:
        made = [makers[number](np.random.default_rng([*seed, number])) for number in numbers]
        for number, picture in zip(numbers, made, strict=True):
            labels[number] = resized_label(np.ascontiguousarray(picture.label), (half, half))
        return [picture.image for picture in made]

    seen = kept(folder, len(makers), keep, side, witnesses)
    return Bank(seen.maps, labels, seen.names, seen.own)


def plain_bank(folder: Path, stage: BankStage, data: DataStage, fold: str, witnesses: Witnesses) -> Bank:
    """A fold's photographs as they are."""
    allowed, half = base_photographs(data, fold), stage.side // 2

    def read_pixels(numbers: range) -> list[np.ndarray]:
        return [pixels(allowed[number]) for number in numbers]

    seen = kept(folder, len(allowed), read_pixels, stage.side, witnesses)
    labels = np.stack([resized_label(label_map(photograph), (half, half)) for photograph in allowed])
    return Bank(seen.maps, labels, seen.names, seen.own)


@dataclass(frozen=True)
class Witnesses:
    """Who looks at a bank's pictures: the backbone, its classifier asked for `names`, the exemplar prior."""

    backbone: Backbone
    names: Mapping[int, str]
    prior: Prior


@dataclass(frozen=True)
class Seen:
    """What the witnesses say; see `Bank`."""

    maps: list[np.ndarray]
    names: BankNames
    own: np.ndarray


def kept(
    folder: Path, count: int, images: Callable[[range], list[np.ndarray]], side: int, witnesses: Witnesses
) -> Seen:
    """What is seen in pictures 0 to `count`; what the folder lacks is computed."""
    backbone = witnesses.backbone.to(memory_format=torch.channels_last)  # many times faster on a CPU
    known, source = known_names(backbone, witnesses.names)
    blank = encode(backbone, [np.zeros((side, side, 3), np.uint8)], side)
    shapes = [level.shape[1:] for level in read(blank, backbone)]
    seen = Seen(
        [opened(folder / f"map{n}.npy", np.float16, (count, *shape)) for n, shape in enumerate(shapes)],
        kept_names(folder, count, known),
        opened(folder / "own.npy", np.float16, (count, OWN_CELLS, OWN_CELLS)),
    )
    progress = folder / DONE_FILE
    done = int(progress.read_text()) if progress.exists() else 0
    for start in range(done, count, PICTURES_AT_ONCE):
        numbers = range(start, min(start + PICTURES_AT_ONCE, count))
        rows = slice(numbers.start, numbers.stop)
        features = encode(backbone, images(numbers), side)
        for array, level in zip(seen.maps, read(features, backbone), strict=True):
            array[rows] = level.numpy()
        if source is not None:
            seen.names.place[rows], seen.names.picture[rows] = say(source, features)
        seen.own[rows] = own_maps(witnesses.prior, features)
        progress.write_text(str(numbers.stop))
    return seen


def own_maps(prior: Prior, features: Features) -> np.ndarray:
    """(P,s,s) of P pictures, each as the single exemplar of a class."""
    maps = [prior.fit([(features[[row]], 0, None)]).support_maps for row in range(len(features))]
    return F.adaptive_avg_pool2d(torch.stack(maps), OWN_CELLS)[:, 0].numpy()


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
