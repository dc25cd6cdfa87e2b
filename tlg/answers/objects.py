"""A class's mask, parted into objects: connected regions, and touching objects where shape and colour say so.

Shapes: H x W the picture's size, h x w the working grid, which has the picture's proportions, K hills.

A region of the mask is a landscape: a place is the higher, the farther it lies from the region's border and the more
certain the class is there. Each of its hills is an object at first. Then neighbours become one, the most alike first:
the pass between them is nearly as high as the lower hill, their colours are alike, or one is small beside the largest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from tlg.answers.records import Answer, part_from_mask

WORKING_SIDE = 128
# A dent so shallow is no pass: the hills on its sides are one.
SHALLOW = 0.9
# Neighbours stay apart while COLOUR * difference of colours + size - height of the pass exceeds APART. Found on crowded
# scenes of the drawn world other than those that tests/benchmarks/objects.py counts.
COLOUR, APART = 0.8, 0.05
# Crumbs are no objects: small beside the largest, and of places of which the model is not certain.
CRUMB_AREA, CRUMB_PROBABILITY = 0.1, 0.85
# Labels grow by so many places before they are brought to the picture's size, so that the mask's rim is theirs too.
RIM = 2


def with_parts(
    answer: Answer, mask_HW: np.ndarray, map_hw: np.ndarray, pixels: np.ndarray, smallest: int, decimals: int
) -> Answer:
    """The answer with its mask's objects, largest first; crumbs, and those of fewer pixels than `smallest`, are none.

    `map_hw` is the probability of the class over the whole picture and `pixels` the picture, both of any size. The
    score of an object joins the presence of the class and the mean probability on the object.
    """
    if answer.status != "mask":
        return answer
    labels_HW, probabilities = _labelled(mask_HW, map_hw, pixels)
    areas = np.bincount(labels_HW.ravel(), minlength=len(probabilities))
    largest = int(areas[1:].max(initial=0))
    parts = [
        part_from_mask(labels_HW == label, round((answer.presence * probabilities[label]) ** 0.5, decimals))
        for label in range(1, len(probabilities))
        if areas[label] >= smallest
        and (areas[label] >= CRUMB_AREA * largest or probabilities[label] >= CRUMB_PROBABILITY)
    ]
    return replace(answer, parts=tuple(sorted(parts, key=lambda part: (-part.area, part.bbox))))


def _labelled(mask_HW: np.ndarray, map_hw: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """(H, W) of object numbers from 1, and the mean probability of each; the first of these is nobody's."""
    height, width = mask_HW.shape
    shrink = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    working_hw = np.asarray(Image.fromarray(map_hw.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    picture_hw3 = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    labels_hw = label_objects(working_hw, picture_hw3)
    grown = Image.fromarray(_grown(labels_hw).astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
    counts = np.bincount(labels_hw.ravel())
    sums = np.bincount(labels_hw.ravel(), working_hw.ravel())
    return np.where(mask_HW, np.asarray(grown), 0), (sums / np.maximum(counts, 1)).tolist()


def label_objects(map_hw: np.ndarray, picture_hw3: np.ndarray) -> np.ndarray:
    """(h, w) of 0 where the class is not, else the object's number from 1."""
    mask_hw = map_hw > 0.5
    height_hw = distance_to_border(mask_hw) * map_hw
    hills = Hills.of(*_flooded(height_hw, mask_hw), height_hw, picture_hw3)
    return hills.merged()


def distance_to_border(mask_hw: np.ndarray) -> np.ndarray:
    """Of every marked place: how far the nearest unmarked place is, those beyond the picture's edge among them."""
    padded = np.pad(mask_hw, 1)
    height, width = padded.shape
    across = np.where(padded, np.float32(height + width), np.float32(0))
    for place in range(1, width):
        across[:, place] = np.minimum(across[:, place], across[:, place - 1] + 1)
    for place in range(width - 2, -1, -1):
        across[:, place] = np.minimum(across[:, place], across[:, place + 1] + 1)
    rows = np.arange(height, dtype=np.float32)
    down = (rows[:, None] - rows[None, :]) ** 2
    squared = np.stack([(across[:, place] ** 2 + down).min(axis=1) for place in range(width)], axis=1)
    return np.sqrt(squared)[1:-1, 1:-1]


def _flooded(height_hw: np.ndarray, mask_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hill numbers from 1, and the height of each hill's top; from the highest place down, as water falls."""
    width = mask_hw.shape[1] + 2
    heights = np.pad(height_hw, 1).ravel().tolist()
    inside = np.flatnonzero(np.pad(mask_hw, 1))
    order = inside[np.argsort(-np.asarray(heights)[inside], kind="stable")]
    hill_of = [0] * len(heights)
    above, tops = [0], [0.0]  # a hill that was found to be part of a higher one points to it

    def root(hill: int) -> int:
        while above[hill] != hill:
            above[hill] = hill = above[above[hill]]
        return hill

    around = (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)
    for place in order.tolist():
        beside = [place + step for step in around if hill_of[place + step]]
        if not beside:
            above.append(len(above))
            tops.append(heights[place])
            hill_of[place] = len(above) - 1
            continue
        # Up the slope, or else a hill would creep along its neighbour's foot.
        hill_of[place] = root(hill_of[max(beside, key=heights.__getitem__)])
        highest, *others = sorted(
            {root(hill_of[neighbour]) for neighbour in beside}, key=lambda hill: (-tops[hill], hill)
        )
        for hill in others:
            if heights[place] >= SHALLOW * tops[hill]:
                above[hill] = highest
    roots, labels = np.unique([root(hill) for hill in hill_of], return_inverse=True)
    # Where the mask fills the grid, the rim around it still is no hill.
    return labels.reshape(-1, width)[1:-1, 1:-1], np.asarray(tops)[roots]


@dataclass
class Hills:
    """Hills, and the passes between neighbours: (lower number, higher number) -> the height of the highest way over."""

    labels: np.ndarray  # (h, w)
    tops: np.ndarray  # (K,)
    areas: np.ndarray  # (K,)
    colours: np.ndarray  # (K, 3), summed over the hill's places
    passes: dict[tuple[int, int], float]

    @classmethod
    def of(cls, labels_hw: np.ndarray, tops_K: np.ndarray, height_hw: np.ndarray, picture_hw3: np.ndarray) -> Hills:
        count, flat = len(tops_K), labels_hw.ravel()
        channels = [np.bincount(flat, picture_hw3[..., channel].ravel() / 255, count) for channel in range(3)]
        areas_K = np.bincount(flat, minlength=count).astype(float)
        return cls(labels_hw, tops_K, areas_K, np.stack(channels, axis=1), _passes(labels_hw, height_hw))

    def merged(self) -> np.ndarray:
        """Labels from 1, after all neighbours that are alike have become one."""
        member = np.arange(len(self.tops))
        while self.passes:
            apart, first, second = min((self._apart(*pair), *pair) for pair in self.passes)
            if apart > APART:
                break
            self._merge(first, second)
            member[member == second] = first
        labels = np.unique(member[self.labels], return_inverse=True)[1].reshape(self.labels.shape)
        return labels if (self.labels == 0).any() else labels + 1

    def _apart(self, first: int, second: int) -> float:
        """How unlike two neighbours are."""
        pair = [first, second]
        colour_1, colour_2 = self.colours[pair] / self.areas[pair, None]
        size = (self.areas[pair].min() / self.areas[1:].max()) ** 0.5
        way = self.passes[first, second] / self.tops[pair].min()
        return float(COLOUR * np.abs(colour_1 - colour_2).sum() + size - way)

    def _merge(self, first: int, second: int) -> None:
        self.areas[first] += self.areas[second]
        self.areas[second] = 0
        self.colours[first] += self.colours[second]
        self.tops[first] = max(self.tops[first], self.tops[second])
        passes: dict[tuple[int, int], float] = {}
        for pair, way in self.passes.items():
            low, high = sorted(first if hill == second else hill for hill in pair)
            if low != high:
                passes[low, high] = max(passes.get((low, high), 0.0), way)
        self.passes = passes


def _passes(labels_hw: np.ndarray, height_hw: np.ndarray) -> dict[tuple[int, int], float]:
    """Of all hills that touch, at sides or corners."""
    height, width = labels_hw.shape
    passes: dict[tuple[int, int], float] = {}
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.s_[: height - down, max(0, -right) : width - max(0, right)]
        there = np.s_[down:, max(0, right) : width - max(0, -right)]
        ones, others = labels_hw[here], labels_hw[there]
        meets = (ones != others) & (ones > 0) & (others > 0)
        ways = np.minimum(height_hw[here], height_hw[there])[meets]
        for hill, other, way in zip(ones[meets].tolist(), others[meets].tolist(), ways.tolist(), strict=True):
            pair = (min(hill, other), max(hill, other))
            passes[pair] = max(passes.get(pair, 0.0), way)
    return passes


def _grown(labels_hw: np.ndarray) -> np.ndarray:
    """Labels that reach a little beyond the mask; where two meet, the higher number has the place."""
    for _ in range(RIM):
        padded = np.pad(labels_hw, 1)
        height, width = labels_hw.shape
        around = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
        labels_hw = np.where(labels_hw > 0, labels_hw, np.maximum.reduce(around))
    return labels_hw
