"""Bytes -> pixels (every odd format, bounded), pixels -> what the network reads."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tlg.errors import InputError

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm")
DEFAULT_MAX_PIXELS = 50_000_000
# Nothing above this is ever decoded, whatever a spec says: a decompression bomb must not allocate.
HARD_MAX_PIXELS = 500_000_000
# Pillow's own, lower bound would call a large image broken; ours is checked before anything is allocated.
Image.MAX_IMAGE_PIXELS = None
# What Pillow's many decoders raise over bytes that are not what they claim to be.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


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


def decode(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """RGB pixels of any supported image, upright; raises InputError with a `kind` fit for quarantine."""
    if not content:
        raise InputError("the file is empty (0 bytes); expected an image", kind="empty")
    try:
        file = Image.open(io.BytesIO(content))
    except DECODER_ERRORS as error:
        found = _found(error, content)
        raise InputError(f"not an image: {found}; expected JPEG, PNG, WebP, TIFF, BMP or GIF", "not_an_image") from None
    width, height = file.size
    if width * height > HARD_MAX_PIXELS:
        raise InputError(f"{width}x{height} pixels, at most {HARD_MAX_PIXELS:,} can be decoded", kind="too_large")
    try:
        # EXIF orientations 5 to 8 lie on their side: the upright image has the sides exchanged.
        # Reading EXIF reads a PNG to its end, so a cut one is noticed here.
        if file.getexif().get(0x0112, 1) in (5, 6, 7, 8):
            width, height = height, width
        shrink = min(1.0, (max_pixels / (width * height)) ** 0.5)
        target = (max(1, int(width * shrink)), max(1, int(height * shrink)))
        if shrink < 1:
            file.draft("RGB", target)  # JPEG decodes straight to a smaller size
        ImageOps.exif_transpose(file, in_place=True)
        image = to_rgb(file)
        if shrink < 1:
            image = image.resize(target, Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    except DECODER_ERRORS as error:
        raise InputError(f"the image is damaged or cut short: {_found(error, content)}", kind="truncated") from None
    return Picture(pixels, height, width)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16-bit scaled, transparency on white, CMYK and palettes converted."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)
        peak = 65535.0 if image.mode != "F" and values.max() > 255 else max(float(values.max()), 1e-6)
        return Image.fromarray((values / peak * 255).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def to_network_input(pixels: np.ndarray, side: int | tuple[int, int]) -> torch.Tensor:
    """(3, h, w) ImageNet-normalised float, resized (aspect not kept) to `side`."""
    import torch  # decoding workers never need it, and it takes seconds to import

    height, width = (side, side) if isinstance(side, int) else side
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    values_3HW = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]
    return (values_3HW - mean) / std


def decode_mask(content: bytes) -> np.ndarray:
    """A mask file as (h, w) bool: every non-zero pixel is marked."""
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("L")) > 0
    except DECODER_ERRORS as error:
        found = _found(error, content)
        raise InputError(f"not a mask image: {found}; expected a PNG, marked pixels non-zero", "not_an_image") from None


def _found(error: Exception, content: bytes) -> str:
    """What is wrong, the same in every run: Pillow's text for an unknown format is the address of a buffer."""
    return f"begins with {content[:8]!r}" if isinstance(error, UnidentifiedImageError) else str(error)
