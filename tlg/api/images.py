"""Images as callers have them -> pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tlg import pictures, store
from tlg.pictures import Picture

# A path or URI, the bytes of a file, a Pillow image, or (h, w, 3) or (h, w) uint8 pixels.
AnyImage = str | Path | bytes | np.ndarray | Image.Image


def read_picture(image: AnyImage, max_pixels: int) -> Picture:
    """The image's pixels; raises InputError or StorageError where there are none to be had."""
    if isinstance(image, (str, Path)):
        return pictures.decode(store.read(store.join(".", str(image))), max_pixels)
    if isinstance(image, bytes):
        return pictures.decode(image, max_pixels)
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    upright = ImageOps.exif_transpose(image)
    return Picture(pictures.as_rgb(upright, max_pixels), upright.height, upright.width)


def name_of(image: AnyImage) -> str:
    """What the image is called in answers; images in memory have no name."""
    return str(image) if isinstance(image, (str, Path)) else ""


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise TypeError(f"found an array {pixels.shape} of {pixels.dtype}; expected uint8 pixels, (h, w, 3) or (h, w)")
    return Image.fromarray(pixels)
