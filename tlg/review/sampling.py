"""Which pictures a person is shown: drawn with known probabilities, more of them where answers are doubtful.

A picture with masks belongs to the stratum of its least certain mask: that mask's class, and a band of the score. A
picture without masks belongs to one of two strata, by how near its most likely class is to being there. Within a
stratum every picture has the same chance. A picture's luck is a digest of its name, so the same pictures are drawn
again, and a larger sample, or one of a collection that has grown, holds most of a smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlg.review.population import STEPS, Population

BANDS = 4
# So many of ten pictures show masks, where there are both kinds.
MASKED_SHARE = 0.85
# Of the pictures without masks, those nearest to one are this share, and get half of what these pictures get.
NEAR_SHARE = 0.1
# How uncertain rightness is at a score, before anybody looked: a score is taken for a probability up to here.
SUREST = 0.97


@dataclass(frozen=True)
class Design:
    """Strata by number. Of masked pictures: class * bands + band; then the two of pictures without masks."""

    classes: int
    by_class: bool
    band_edges: np.ndarray  # steps where bands of the score begin, but for the first
    near_step: int

    @classmethod
    def of(cls, population: Population, pictures: int) -> Design:
        """As fine as `pictures` allow: each stratum should get two at least."""
        classes = int((population.masks.sum(1) > 0).sum())
        by_class = classes * 2 <= pictures
        bands = int(np.clip(pictures // (2 * max(1, classes if by_class else 1)), 1, BANDS))
        inner = np.arange(1, bands) / bands
        absent_T = population.absent_alone.sum(0)
        near = int(_quantiles(absent_T, np.array([1 - NEAR_SHARE]))[0])
        return cls(len(population.classes), by_class, _quantiles(population.masks.sum(0), inner), near)

    @property
    def bands(self) -> int:
        return len(self.band_edges) + 1

    @property
    def strata(self) -> int:
        return (self.classes if self.by_class else 1) * self.bands + 2

    def of_masked(self, class_N: np.ndarray, step_N: np.ndarray) -> np.ndarray:
        """The strata of pictures by their least certain mask."""
        band_N = np.searchsorted(self.band_edges, step_N, side="right")
        return (class_N if self.by_class else 0) * self.bands + band_N

    def of_unmasked(self, step_N: np.ndarray) -> np.ndarray:
        """The strata of pictures without masks, by the presence of their most likely class."""
        return self.strata - 2 + (step_N >= self.near_step)

    def allocation(self, count_H: np.ndarray, step_sum_H: np.ndarray, pictures: int) -> np.ndarray:
        """(H,): how many pictures of each stratum; `count_H` are there, their steps add up to `step_sum_H`.

        Every class gets as much as another; within a class it goes by how many there are and how doubtful (Neyman).
        """
        wish_H = np.zeros(self.strata)
        mean_H = np.clip(step_sum_H / np.maximum(count_H, 1) / STEPS, 0.03, SUREST)
        weight_H = count_H * np.sqrt(mean_H * (1 - mean_H))
        masked = weight_H[:-2].reshape(-1, self.bands)
        of_class = masked.sum(1, keepdims=True)
        shares = np.divide(masked, of_class, out=np.zeros_like(masked), where=of_class > 0).ravel()
        wish_H[:-2] = shares / max(1e-9, shares.sum())
        wish_H[-2:] = (count_H[-2:] > 0) / max(1, (count_H[-2:] > 0).sum())
        has_masked, has_unmasked = count_H[:-2].sum() > 0, count_H[-2:].sum() > 0
        share = MASKED_SHARE if has_masked and has_unmasked else float(has_masked)
        wish_H[:-2] *= share
        wish_H[-2:] *= 1 - share
        return _whole(wish_H * pictures, count_H, pictures)


@dataclass(frozen=True)
class Drawn:
    """Pictures by their number in the collection, with the chance each had and the stratum it stands for."""

    numbers: np.ndarray
    probability: np.ndarray
    stratum: np.ndarray


class Draw:
    """Takes pictures as they come and keeps the luckiest of each stratum; memory does not grow with the collection."""

    def __init__(self, design: Design, pictures: int):
        self.design, self.pictures = design, pictures
        self._count_H = np.zeros(design.strata, np.int64)
        self._step_sum_H = np.zeros(design.strata)
        self._numbers = [np.zeros(0, np.uint64) for _ in range(design.strata)]

    def add(self, number_N: np.ndarray, stratum_N: np.ndarray, step_N: np.ndarray) -> None:
        """`number_N` tell pictures apart and are as good as random: digests of their names."""
        self._count_H += np.bincount(stratum_N, minlength=self.design.strata)
        self._step_sum_H += np.bincount(stratum_N, step_N, minlength=self.design.strata)
        for stratum in np.unique(stratum_N).tolist():
            candidates = np.r_[self._numbers[stratum], number_N[stratum_N == stratum]]
            self._numbers[stratum] = np.sort(candidates)[: self.pictures]

    def drawn(self) -> Drawn:
        take_H = self.design.allocation(self._count_H, self._step_sum_H, self.pictures)
        numbers = [self._numbers[stratum][:count] for stratum, count in enumerate(take_H.tolist())]
        stratum = np.repeat(np.arange(self.design.strata), take_H)
        chance_H = take_H / np.maximum(self._count_H, 1)
        return Drawn(np.concatenate(numbers), chance_H[stratum], stratum)


def _quantiles(count_T: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The steps that these shares of the members lie below."""
    total = count_T.sum()
    if not total:
        return np.zeros(len(shares), np.int64)
    return np.searchsorted(np.cumsum(count_T) / total, shares, side="right")


def _whole(wish_H: np.ndarray, count_H: np.ndarray, pictures: int) -> np.ndarray:
    """Whole numbers that add up to `pictures` where there are so many: one for every stratum first, as far as it goes.

    Then always to the stratum that lacks most of what it is due.
    """
    take_H = np.zeros(len(wish_H), np.int64)
    is_wanted = wish_H > 0
    if is_wanted.sum() <= pictures:
        take_H[is_wanted] = np.minimum(1, count_H[is_wanted])
    while take_H.sum() < min(pictures, int(count_H.sum())):
        lacking_H = np.where(take_H < count_H, wish_H - take_H, -np.inf)
        take_H[int(np.argmax(lacking_H))] += 1
    return take_H


def shuffled(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """An order in which a person meets the pictures: kinds mixed, and the same each time."""
    mixed = np.asarray(numbers, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.argsort(mixed ^ (mixed >> np.uint64(29)), kind="stable")
