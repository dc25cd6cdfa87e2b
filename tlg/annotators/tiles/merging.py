"""The answers of tiles and of the whole look to one class become one answer, without seams.

Each tile votes at each of its places, in its middle with more weight than at its edges; the class is where more than
half of the weight says so. Masks come as RLE, so that one class's votes are all that is held at the picture's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from tlg.annotators.tiles.grid import Grid, Tile
from tlg.answers.records import Answer, Part, answer_from_mask, part_from_mask, part_in_window
from tlg.answers.regions import regions_of
from tlg.pictures import Picture

STRIP_ROWS = 256
# A thing longer than this share of a tile is judged better by the whole look.
TOO_LONG = 1 / 2
# Of such a thing tiles mark most, or they saw something else there.
MOST = 1 / 2
# Objects of one class are told apart by 16 bits.
MOST_OBJECTS = 2**16 - 1


@dataclass(frozen=True)
class Said:
    """What one tile answered about the class."""

    tile: Tile
    answer: Answer


@dataclass(frozen=True)
class Merger:
    """`smallest` is the smallest object in pixels of the picture, None where no objects are asked for."""

    grid: Grid
    picture: Picture
    decimals: int
    smallest: int | None = None

    def merged(self, whole: Answer, said: Sequence[Said]) -> Answer:
        """The score joins those of the answers that were heard, by the area they marked; presence is the surest's."""
        marked = [told for told in said if told.answer.status == "mask"]
        mask_HW = self._elected(marked)
        heard = [(int(mask_HW[told.tile.within][told.answer.mask].sum()), told.answer) for told in marked]
        whole_HW = self._large_regions(whole, mask_HW)
        if whole_HW is not None:
            heard.append((int((whole_HW & ~mask_HW).sum()), whole))
            mask_HW |= whole_HW
        heard = [(area, answer) for area, answer in heard if area]
        if not heard:
            presence = max([whole.presence, *(told.answer.presence for told in said)])
            nobody = replace(whole, status="absent", score=presence, presence=presence)
            return replace(nobody, rle=None, area=0, bbox=[], parts=())
        areas, answers = zip(*heard, strict=True)
        score = round(float(np.average([answer.score for answer in answers], weights=areas)), self.decimals)
        presence = max(answer.presence for answer in answers)
        full_HW = self.picture.upscaled_mask(mask_HW)
        answer = answer_from_mask(whole.class_name, whole.class_id, full_HW, score, presence, min_score=0.0)
        if self.smallest is None:
            return answer
        return replace(answer, parts=self._parts(mask_HW, marked, answer, self.smallest))

    def _elected(self, marked: Sequence[Said]) -> np.ndarray:
        """(H, W) bool: where more than half of the tiles' weight says that the class is."""
        grid = self.grid
        votes_HW = np.zeros(grid.shape, np.uint16)
        for told in marked:
            votes_HW[told.tile.within] += grid.weight(told.tile) * told.answer.mask
        mask_HW = np.empty(grid.shape, bool, order="F")
        for start in range(0, grid.shape[0], STRIP_ROWS):
            rows = slice(start, start + STRIP_ROWS)
            mask_HW[rows] = 2 * votes_HW[rows] > grid.total(rows)
        return mask_HW

    def _large_regions(self, whole: Answer, mask_HW: np.ndarray) -> np.ndarray | None:
        """What the whole look saw of things that no tile shows as a whole, where the tiles bear it out."""
        if whole.status != "mask":
            return None
        regions = regions_of(_at_size(whole.mask, self.grid.shape))
        kept = regions.boxes[:, 2:].max(axis=1, initial=0) > TOO_LONG * max(self.grid.size)
        for number in np.flatnonzero(kept).tolist():
            window, region_hw = regions.cut(number)
            kept[number] = mask_HW[window][region_hw].mean() > MOST
        return regions.painted(kept) if kept.any() else None

    def _parts(self, mask_HW: np.ndarray, marked: Sequence[Said], answer: Answer, smallest: int) -> tuple[Part, ...]:
        """Each object as the tile saw it in whose middle it lies; a region in which no tile saw one is one itself."""
        labels_HW = np.zeros(self.grid.shape, np.uint16, order="F")
        windows: list[tuple[tuple[slice, slice], int, float]] = []

        def label(window: tuple[slice, slice], mask_hw: np.ndarray, score: float) -> None:
            if len(windows) < MOST_OBJECTS:
                windows.append((window, len(windows) + 1, score))
                labels_HW[window][mask_hw] = len(windows)

        for told in marked:
            for part in told.answer.parts:
                x, y, width, height = (round(value) for value in part.bbox)
                if self.grid.owns(told.tile, y + height / 2, x + width / 2):
                    top, left = told.tile.top + y, told.tile.left + x
                    mask_hw = part.mask[y : y + height, x : x + width]
                    label(np.s_[top : top + height, left : left + width], mask_hw, part.score)
        regions = regions_of(mask_HW)
        for number in np.flatnonzero(~regions.touch(labels_HW > 0) & (regions.areas >= smallest)).tolist():
            label(*regions.cut(number), answer.score)
        labels_HW[~mask_HW] = 0
        parts = [self._part(labels_HW[window] == number, window, score) for window, number, score in windows]
        parts = [part for part in parts if part.area >= smallest]
        return tuple(sorted(parts, key=lambda part: (-part.area, part.bbox)))

    def _part(self, mask_hw: np.ndarray, window: tuple[slice, slice], score: float) -> Part:
        height, width = self.grid.shape
        if (height, width) == (self.picture.height, self.picture.width):
            return part_in_window(mask_hw, window[0].start, window[1].start, height, width, score)
        mask_HW = np.zeros((height, width), bool)
        mask_HW[window] = mask_hw
        return part_from_mask(self.picture.upscaled_mask(mask_HW), score)


def _at_size(mask_HW: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if mask_HW.shape == shape:
        return mask_HW
    resized = Image.fromarray(mask_HW.astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(bool)
