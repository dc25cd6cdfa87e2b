"""Two photographs in one picture, so that only the exemplars tell which of two objects is meant.

Done on feature maps: the part of one query's maps beside a cut is taken over from another query's. This costs no
backbone pass, so that every step has new collages even where features are cached.
Shapes: B queries, h x w the label maps' size.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from tlg.network.features import Features

CUTS = (0.35, 0.65)


@dataclass(frozen=True)
class Cut:
    """Row `into` takes over what lies before or after `share` of the width (or height) of row `taken_from`."""

    into: int
    taken_from: int
    along_width: bool
    before: bool
    share: float

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        at = round(self.share * (width if self.along_width else height))
        part = slice(0, at) if self.before else slice(at, None)
        return (slice(None), part) if self.along_width else (part, slice(None))


def draw_cuts(rng: random.Random, rows: int, share: float, coarsest: int) -> list[Cut]:
    """About `share` of the rows get a cut, which falls on a border of the coarsest map's cells."""
    if rows < 2:
        return []
    cuts = []
    for row in range(rows):
        if rng.random() < share:
            other = rng.choice([candidate for candidate in range(rows) if candidate != row])
            at = round(rng.uniform(*CUTS) * coarsest) / coarsest
            cuts.append(Cut(row, other, rng.random() < 0.5, rng.random() < 0.5, at))
    return cuts


def collage(features: Features, label_Bhw: Tensor, cuts: list[Cut]) -> tuple[Features, Tensor]:
    """Features and label maps with every cut applied; what is taken over is always an uncut original."""
    maps = []
    for original in (*features.maps, label_Bhw):
        mixed = original.clone()
        for cut in cuts:
            rows, columns = cut.window(*original.shape[-2:])
            mixed[cut.into, ..., rows, columns] = original[cut.taken_from, ..., rows, columns]
        maps.append(mixed)
    *feature_maps, label_Bhw = maps
    return Features(feature_maps, features.size), label_Bhw


def coarsest_side(features: Features) -> int:
    return min(min(level.shape[-2:]) for level in features.maps)


def same_class(label_Bhw: Tensor, classes: list[int], unknown: int, ignored: int) -> Tensor:
    """(B, h, w): 1 where the row's class is, 0 elsewhere, `ignored` where the label is `unknown`."""
    truth_Bhw = (label_Bhw == torch.tensor(classes, dtype=label_Bhw.dtype)[:, None, None]).long()
    return truth_Bhw.masked_fill(label_Bhw == unknown, ignored)
