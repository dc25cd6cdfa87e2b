"""Bytes -> pixels, in bounded memory: what a decoder gives is turned into RGB and made smaller strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tlg.errors import InputError
from tlg.pictures.header import DECODER_ERRORS, DEFAULT_MAX_PIXELS, opened

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm")
STRIP_PIXELS = 1 << 20
ORIENTATION = 0x0112
# EXIF's orientations: what brings the rows and columns of the file upright.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
ON_THEIR_SIDE = (5, 6, 7, 8)
SIXTEEN_BITS = 65535.0
# How memory for pixels is had: from a shape and a type.
Allocate = Callable[[tuple[int, ...], type], np.ndarray]


@dataclass(frozen=True)
class Picture:
    """Decoded pixels, perhaps scaled down, and the image's own size, which answers are given in."""

    pixels: np.ndarray  # (h, w, 3) uint8
    height: int
    width: int

    def upscaled_mask(self, mask_hw: np.ndarray) -> np.ndarray:
        """A mask of any size, at the image's own size (nearest pixel)."""
        if mask_hw.shape == (self.height, self.width):
            return mask_hw
        resized = Image.fromarray(mask_hw.astype(np.uint8)).resize((self.width, self.height), Image.Resampling.NEAREST)
        return np.asarray(resized).astype(bool)


def decode(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, allocate: Allocate = np.empty) -> Picture:
    """RGB pixels of any supported image, upright; raises InputError with a `kind` fit for quarantine."""
    image = opened(content, max_pixels)
    width, height = image.size
    try:
        if image.shrink > 1:
            image.file.draft("RGB", (width // image.shrink, height // image.shrink))
        image.file.load()
        orientation = orientation_of(image.file)
        upright = UPRIGHT.get(orientation)
        pixels = as_rgb(image.file, max_pixels, np.empty if upright else allocate)
    except DECODER_ERRORS as error:
        raise InputError(f"the image is damaged or cut short: {error}", kind="truncated") from None
    del image
    if upright:
        turned = upright(pixels)
        pixels = allocate(turned.shape, np.uint8)
        pixels[:] = turned
    if orientation in ON_THEIR_SIDE:
        height, width = width, height
    return Picture(pixels, height, width)


def decode_mask(content: bytes, allocate: Allocate = np.empty) -> np.ndarray:
    """A mask file as (h, w) bool: every non-zero pixel is marked."""
    file = opened(content, DEFAULT_MAX_PIXELS).file
    try:
        file.load()
        mask_hw = allocate((file.height, file.width), bool)
        for start, stop in strips(file.height, file.width):
            mask_hw[start:stop] = np.asarray(file.crop((0, start, file.width, stop)).convert("L")) > 0
    except DECODER_ERRORS as error:
        raise InputError(f"the mask is damaged or cut short: {error}", kind="truncated") from None
    return mask_hw


def orientation_of(image: Image.Image) -> int:
    """EXIF's; a picture whose EXIF is broken lies as it is stored."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except DECODER_ERRORS:
        return 1


def as_rgb(image: Image.Image, max_pixels: int, allocate: Allocate = np.empty) -> np.ndarray:
    """(h, w, 3) of a decoded image of any mode, with at most so many pixels."""
    shrink = min(1.0, (max_pixels / (image.width * image.height)) ** 0.5)
    height, width = max(1, int(image.height * shrink)), max(1, int(image.width * shrink))
    peak = brightest(image) if is_deep(image) else 0.0
    pixels = allocate((height, width, 3), np.uint8)
    rows = image.height / height
    for start, stop in strips(height, round(rows * image.width)):
        top, bottom = start * rows, min(stop * rows, image.height)
        first, last = int(top), min(image.height, int(np.ceil(bottom)))
        strip = to_rgb(image.crop((0, first, image.width, last)), peak)
        if shrink < 1:
            box = (0, top - first, image.width, bottom - first)
            strip = strip.resize((width, stop - start), Image.Resampling.BILINEAR, box)
        pixels[start:stop] = np.asarray(strip)
    return pixels


def strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows (start, stop) of so many places that a strip is small."""
    step = max(1, STRIP_PIXELS // max(1, width))
    for start in range(0, height, step):
        yield start, min(height, start + step)


def is_deep(image: Image.Image) -> bool:
    """Whether pixels are numbers beyond 0..255."""
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def brightest(image: Image.Image) -> float:
    """What is shown white. Whole numbers above 255 are taken for 16 bits, and where they do not suffice the largest is
    white; smaller numbers and fractions have no scale but their own largest."""
    largest = 0.0
    for start, stop in strips(image.height, image.width):
        largest = max(largest, float(deep_values(image.crop((0, start, image.width, stop))).max()))
    if image.mode != "F" and 255 < largest <= SIXTEEN_BITS:
        return SIXTEEN_BITS
    return max(largest, 1e-6)


def deep_values(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)


def to_rgb(image: Image.Image, peak: float) -> Image.Image:
    """Any mode as RGB: deep pixels scaled so that `peak` is white, transparency laid on white."""
    if is_deep(image):
        return Image.fromarray((deep_values(image) / peak * 255).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
