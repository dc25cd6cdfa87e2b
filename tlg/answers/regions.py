"""The connected regions of a mask of any size, found on its runs: memory grows with the outline, not with the area."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Rows added below each column, so that no run touches one of the column beside it by its number alone.
APART = 2


@dataclass(frozen=True)
class Regions:
    """Runs go down the columns: `starts` and `stops` count places column by column; `region` is each run's, from 0."""

    height: int
    width: int
    starts: np.ndarray
    stops: np.ndarray
    region: np.ndarray
    count: int

    @property
    def areas(self) -> np.ndarray:
        return np.bincount(self.region, self.stops - self.starts, self.count).astype(np.int64)

    @cached_property
    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every run its column, its first row and the row after its last."""
        column, top = np.divmod(self.starts, self.height + APART)
        return column, top, self.stops - column * (self.height + APART)

    @cached_property
    def boxes(self) -> np.ndarray:
        """(count, 4) of x, y, width, height."""
        column, top, bottom = self.runs
        low = np.full((self.count, 2), np.iinfo(np.int64).max)
        high = np.zeros((self.count, 2), np.int64)
        np.minimum.at(low, self.region, np.stack([column, top], axis=1))
        np.maximum.at(high, self.region, np.stack([column + 1, bottom], axis=1))
        return np.concatenate([low, high - low], axis=1)

    def cut(self, number: int) -> tuple[tuple[slice, slice], np.ndarray]:
        """The window around a region, and its places there."""
        x, y, width, height = self.boxes[number].tolist()
        mask_hw = np.zeros((height, width), bool)
        own = self.region == number
        for column, top, bottom in zip(*(of_run[own].tolist() for of_run in self.runs), strict=True):
            mask_hw[top - y : bottom - y, column - x] = True
        return (slice(y, y + height), slice(x, x + width)), mask_hw

    def touch(self, marked_HW: np.ndarray) -> np.ndarray:
        """(count,) bool: the regions in which something is marked."""
        column, top, bottom = self.runs
        places = np.append(marked_HW.ravel(order="F"), False)
        ends = np.stack([column * self.height + top, column * self.height + bottom], axis=1).ravel()
        hit = np.logical_or.reduceat(places, ends)[::2] if len(ends) else np.zeros(0, bool)
        return np.bincount(self.region, hit, self.count) > 0

    def painted(self, chosen: np.ndarray) -> np.ndarray:
        """(H, W) bool of the regions that are True in `chosen`, in the order that RLE reads."""
        runs = chosen[self.region]
        edges = np.zeros(self.width * (self.height + APART) + 1, np.int8)
        edges[self.starts[runs]] = 1
        edges[self.stops[runs]] = -1
        columns = np.cumsum(edges[:-1], dtype=np.int8).reshape(self.width, self.height + APART)
        return columns[:, : self.height].astype(bool).T


def regions_of(mask_HW: np.ndarray) -> Regions:
    """Places are neighbours at sides and corners."""
    height, width = mask_HW.shape
    columns = np.zeros((width, height + APART), np.int8)
    columns[:, :height] = mask_HW.T
    edges = np.diff(columns.ravel(), prepend=np.int8(0))
    del columns
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    before = starts + height + APART
    first = np.searchsorted(stops, before)
    last = np.searchsorted(starts, stops + height + APART, side="right")
    counts = np.maximum(last - first, 0)
    run = np.repeat(np.arange(len(starts)), counts)
    beside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    region = _joined(len(starts), run, beside)
    numbers, region = np.unique(region, return_inverse=True)
    return Regions(height, width, starts, stops, region, len(numbers))


def _joined(count: int, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The least number among those that pairs connect, for each number below `count`."""
    least = np.arange(count)
    while True:
        before = least.copy()
        lower = np.minimum(least[ones], least[others])
        # The number that a number points to learns of it as well, so that long chains take few rounds.
        for places in (ones, others, before[ones], before[others]):
            np.minimum.at(least, places, lower)
        least = least[least]
        if (least == before).all():
            return least
