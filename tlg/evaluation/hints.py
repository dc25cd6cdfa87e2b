"""Supports' true masks reduced to what a hasty person draws, and made maps again as an annotator makes them.

Shapes: H x W a photograph's own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from tlg.answers.formats import polygon
from tlg.datasets.episodes import Photo, open_image
from tlg.evaluation.answerers import REMEMBERED_PHOTOS, MaskReader, PhotoFeatures
from tlg.evidence.drawn import drawn_map
from tlg.evidence.names.evidence import NameEvidence
from tlg.exemplars import Drawing
from tlg.exemplars.drawing import Box, Point
from tlg.pictures import to_network_input

# Nobody draws around a part that is a smaller share of the photograph than this, where a larger part is there.
SPECK = 1e-3
# The innermost place of a part is found on a grid of so many places a side.
INNERMOST_SIDE = 64


def hinted(
    masks: MaskReader,
    hint: Callable[[np.ndarray], Drawing],
    features: PhotoFeatures,
    source_of: Callable[[int], NameEvidence | None],
) -> MaskReader:
    """Reads what `drawn_map` makes of a hint at the true mask, at the network's input size. `source_of` says who knows
    the name of a class."""

    @lru_cache(REMEMBERED_PHOTOS)
    def read(photo: Photo, class_id: int) -> np.ndarray:
        mask_HW = masks(photo, class_id)
        image_13HW = to_network_input(open_image(photo.image), features.side)[None].to(features.device)
        shown, source = features.of([photo]), source_of(class_id)
        named_HW = None if source is None or not source.known[0] else source.map(features.seen_by(source, [photo]), 0)
        return drawn_map(hint(mask_HW), mask_HW.shape, shown, image_13HW, by_name_HW=named_HW).cpu().numpy()

    return read


def boxes_around(mask_HW: np.ndarray) -> Drawing:
    """A box around every connected part."""
    return Drawing(boxes=_part_boxes(mask_HW))


def points_on(mask_HW: np.ndarray) -> Drawing:
    """A point on every connected part, where it is farthest from its rim."""
    return Drawing(points=[_innermost(mask_HW, box) for box in _part_boxes(mask_HW)])


def _part_boxes(mask_HW: np.ndarray) -> list[Box]:
    """Boxes of the connected parts, largest first, without specks."""
    ranked = sorted(_boxes(mask_HW), key=lambda box: -box[2] * box[3])
    least = SPECK * mask_HW.size
    return ranked[:1] + [box for box in ranked[1:] if box[2] * box[3] >= least]


def _boxes(mask_HW: np.ndarray) -> Iterator[Box]:
    for ring in polygon.from_mask(mask_HW):
        across, down = ring[::2], ring[1::2]
        yield min(across), min(down), max(across) - min(across), max(down) - min(down)


def _innermost(mask_HW: np.ndarray, box: Box) -> Point:
    left, top, width, height = map(int, box)
    part_HW = np.pad(mask_HW[top : top + height, left : left + width].astype(np.float32), 1)
    rows, columns = min(INNERMOST_SIDE, part_HW.shape[0]), min(INNERMOST_SIDE, part_HW.shape[1])
    left_11hw = F.interpolate(torch.from_numpy(part_HW)[None, None], (rows, columns), mode="area")
    depth_11hw = torch.zeros_like(left_11hw)
    while left_11hw.amax() > 0.5:
        depth_11hw += left_11hw
        left_11hw = -F.max_pool2d(-F.pad(left_11hw, (1, 1, 1, 1)), 3, 1)
    row, column = divmod(int(depth_11hw.argmax()), columns)
    x = left - 1 + (column + 0.5) * part_HW.shape[1] / columns
    y = top - 1 + (row + 0.5) * part_HW.shape[0] / rows
    return min(max(x, left), left + width), min(max(y, top), top + height)
