"""Where tiles lie, and how much each of them has to say about a place.

Shapes: H x W the picture's pixels, h x w a tile's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Neighbours share at least this part of a tile, so that a thing of the usual size lies whole in one of them.
OVERLAP = 1 / 4
# A picture takes so many tiles at most; of a larger one each tile is larger.
MOST_TILES = 600
# From its edge towards its middle a tile gains weight in so many steps.
STEPS = 15


@dataclass(frozen=True)
class Tile:
    top: int
    left: int
    height: int
    width: int

    @property
    def within(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Grid:
    """Tiles of one size that cover a picture, row by row."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    size: tuple[int, int]  # of a tile: rows, columns
    shape: tuple[int, int]  # of the picture

    @staticmethod
    def over(height: int, width: int, side: int) -> Grid:
        """Tiles of `side` pixels, or of more where there would be too many."""
        while True:
            tops, lefts = _starts(height, side), _starts(width, side)
            if len(tops) * len(lefts) <= MOST_TILES:
                return Grid(tops, lefts, (min(side, height), min(side, width)), (height, width))
            side = side + side // 8 + 1

    def __iter__(self) -> Iterator[Tile]:
        return (Tile(top, left, *self.size) for top in self.tops for left in self.lefts)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def weight(self, tile: Tile) -> np.ndarray:
        """(h, w): 1 at the tile's edges up to STEPS squared inside; the picture's own edges are inside."""
        down = _ramp(tile.top, tile.height, self.shape[0])
        return down[:, None] * _ramp(tile.left, tile.width, self.shape[1])[None]

    def total(self, rows: slice) -> np.ndarray:
        """(rows, W): what the weights of all tiles add up to."""
        down, across = np.zeros(self.shape[0], np.uint16), np.zeros(self.shape[1], np.uint16)
        for top in self.tops:
            down[top : top + self.size[0]] += _ramp(top, self.size[0], self.shape[0])
        for left in self.lefts:
            across[left : left + self.size[1]] += _ramp(left, self.size[1], self.shape[1])
        return down[rows, None] * across[None]

    def owns(self, tile: Tile, y: float, x: float) -> bool:
        """Whether, of all tiles, this one's middle is the nearest to the place, which counts from the tile's corner."""
        down = _nearest(self.tops, self.size[0], tile.top + y)
        return (down, _nearest(self.lefts, self.size[1], tile.left + x)) == (tile.top, tile.left)


def _starts(length: int, side: int) -> tuple[int, ...]:
    if length <= side:
        return (0,)
    count = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return tuple(round(start) for start in np.linspace(0, length - side, count))


def _ramp(start: int, length: int, whole: int) -> np.ndarray:
    places = np.arange(length)
    before = places if start > 0 else np.full(length, length)
    after = length - 1 - places if start + length < whole else np.full(length, length)
    wide = max(1.0, length * OVERLAP / STEPS)
    return np.clip(np.minimum(before, after) / wide + 1, 1, STEPS).astype(np.uint16)


def _nearest(starts: tuple[int, ...], length: int, place: float) -> int:
    return min(starts, key=lambda start: abs(start + length / 2 - place))
