"""Pixels with their masks drawn in, for eyes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tlg.answers import records

FILL = 0.45
MAP_COLOUR, MAP_FILL = (255, 32, 96), 0.6
# Neighbouring class ids land far apart on the colour wheel.
GOLDEN_ANGLE = 0.618033988749895


def colour(class_id: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((class_id * GOLDEN_ANGLE) % 1.0, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(pixels: np.ndarray, rows: Sequence[dict[str, Any]], longest_side: int = 640) -> Image.Image:
    """The picture at most `longest_side` large, each object or mask tinted and outlined in its class's colour."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest_side, longest_side), Image.Resampling.BILINEAR)
    drawn = np.asarray(image).astype(np.float32)
    for row in records.object_rows(rows):
        full = Image.fromarray(records.decode_mask(row["rle"]).astype(np.uint8) * 255)
        mask_HW = np.asarray(full.resize(image.size, Image.Resampling.BILINEAR)) > 127
        tint = np.asarray(colour(row["class_id"]), np.float32)
        drawn[mask_HW] = drawn[mask_HW] * (1 - FILL) + tint * FILL
        drawn[_border(mask_HW)] = tint
    return Image.fromarray(drawn.astype(np.uint8))


def tinted(pixels: np.ndarray, map_HW: np.ndarray) -> np.ndarray:
    """The picture, coloured where the map in 0..1 (or the mask) is high."""
    strength = (MAP_FILL * map_HW)[..., None]
    return (pixels * (1 - strength) + np.array(MAP_COLOUR) * strength).round().astype(np.uint8)


def _border(mask_HW: np.ndarray) -> np.ndarray:
    padded = np.pad(mask_HW, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask_HW & ~inner
