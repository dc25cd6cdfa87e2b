"""The masks of an image as one exclusive label map: a PNG with a palette, as Pascal VOC has them.

0 is background; a class's number is its id. Where masks overlap, the higher score wins, and at equal scores the
smaller mask, then the lower id: what is drawn last lies on top.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tlg.answers.records import class_rows, decode_mask
from tlg.errors import SpecError

# 255 is what readers of VOC leave out of training.
MOST_CLASSES = 254


def palette() -> list[int]:
    """VOC's 256 colours, [r, g, b, r, g, b, ...]: the bits of a number, three by three, from the highest down."""
    colours = np.zeros((256, 3), np.uint8)
    for number in range(256):
        rest = number
        for bit in range(7, -1, -1):
            colours[number] |= np.array([(rest >> channel & 1) << bit for channel in range(3)], np.uint8)
            rest >>= 3
    return colours.ravel().tolist()


PALETTE = palette()


def check(categories: Sequence[tuple[int, str]]) -> None:
    """Label maps have eight bits."""
    if categories and max(number for number, _ in categories) > MOST_CLASSES:
        raise SpecError(
            f"label maps hold class ids up to {MOST_CLASSES}, found {max(number for number, _ in categories)}; "
            "export a part of the classes with --class, or use coco"
        )


def labels(rows: Sequence[dict[str, Any]], ids: Mapping[str, int]) -> np.ndarray:
    """(height, width) uint8 of an image's rows; classes that `ids` does not name are left out."""
    label_HW = np.zeros((rows[0]["height"], rows[0]["width"]), np.uint8)
    masks = [row for row in class_rows(rows) if row["status"] == "mask" and row["class_name"] in ids]
    for row in sorted(masks, key=lambda row: (row["score"], -row["area"], -ids[row["class_name"]])):
        label_HW[decode_mask(row["rle"])] = ids[row["class_name"]]
    return label_HW


def encode(label_HW: np.ndarray) -> bytes:
    image = Image.fromarray(label_HW, "P")
    image.putpalette(PALETTE)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
