"""What strangers' bytes claim to be, and what decoding them would cost: judged before anything is decoded.

Only the formats named here are ever opened, each by its own class: no other decoder of Pillow's (PostScript among them)
sees the bytes, and neither Pillow's global bounds nor its list of plugins is read or changed.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tlg.errors import InputError

DEFAULT_MAX_PIXELS = 50_000_000
# Nothing above this is ever decoded, whatever a spec says.
HARD_MAX_PIXELS = 500_000_000
MAX_BYTES = 512 * 2**20
# Decoding takes at most three times as much memory as the pixels that a picture may have.
MEMORY_PER_PIXEL = 3 * 3
# A progressive JPEG goes over all its pixels once a scan: about ten seconds' work.
MAX_SCANNED_PIXELS = 2_000_000_000
# Pillow walks through these in Python. Real files have a few dozen segments, and a chunk for every 8 KB at least.
MAX_SEGMENTS = 10_000
MAX_CHUNKS = 100_000
MAX_JUNK_BYTES = 1 << 16
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
    Image.DecompressionBombError,
)
FORMATS: tuple[tuple[str, re.Pattern[bytes], type[ImageFile.ImageFile]], ...] = (
    ("JPEG", re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    ("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImageFile),
    ("BMP", re.compile(rb"BM"), BmpImageFile),
    ("GIF", re.compile(rb"GIF8[79]a"), GifImageFile),
    ("PPM", re.compile(rb"P[1-7fyF]"), PpmImageFile),
)
# Bytes that Pillow holds for a pixel.
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
OTHER_MODE_BYTES = 4
# An animation's canvas, the frame before it and the frame itself.
WEBP_BYTES = 16
# A JPEG's coefficient, kept of all components where the picture comes in several scans.
COEFFICIENT_BYTES = 2
FIRST_OTHER_BYTE = re.compile(rb"[^\xff]")
MARKER = re.compile(rb"\xff")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
STANDALONE = (0x01, *range(0xD0, 0xD8))
START_OF_FRAME = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)


@dataclass(frozen=True)
class Opened:
    """An image whose header was read and whose cost is bounded. Its decoder makes it smaller by `shrink`."""

    file: ImageFile.ImageFile
    kind: str
    shrink: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as the header says."""
        return self.file.size


def check_header(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Height and width of what could be decoded; raises InputError with a `kind` fit for quarantine."""
    width, height = opened(content, max_pixels).size
    return height, width


def opened(content: bytes, max_pixels: int) -> Opened:
    """The image behind the bytes, not decoded yet; raises InputError for what is no image or costs too much."""
    if not content:
        raise InputError("the file is empty (0 bytes); expected an image", kind="empty")
    if len(content) > MAX_BYTES:
        raise InputError(f"{len(content):,} bytes, at most {MAX_BYTES:,} can be decoded", kind="too_large")
    kind, image_class = next(
        ((kind, image_class) for kind, beginning, image_class in FORMATS if beginning.match(content)), ("", None)
    )
    if image_class is None:
        start = f"begins with {content[:8]!r}"
        raise InputError(f"not an image: {start}; expected JPEG, PNG, WebP, TIFF, BMP, GIF or PPM", "not_an_image")
    scans = components = 1
    try:
        if kind == "JPEG":
            components, scans = jpeg_components(content), content.count(bytes((0xFF, START_OF_SCAN)))
        if kind == "PNG":
            check_chunks(content)
        file = image_class(io.BytesIO(content))
    except DECODER_ERRORS as error:
        raise InputError(f"not an image: begins like a {kind}, but {error}", "not_an_image") from None
    width, height = file.size
    pixels = width * height
    size = f"{width}x{height} pixels"
    if pixels > HARD_MAX_PIXELS:
        raise InputError(f"{size}, at most {HARD_MAX_PIXELS:,} can be decoded", kind="too_large")
    if scans * pixels > MAX_SCANNED_PIXELS:
        raise InputError(f"{size} in {scans:,} scans would take minutes to decode; save it anew", kind="too_large")
    shrink = 1
    while kind == "JPEG" and shrink < 8 and pixels > max_pixels * shrink**2:
        shrink *= 2
    per_pixel = WEBP_BYTES if kind == "WebP" else MODE_BYTES.get(file.mode, OTHER_MODE_BYTES)
    needed = per_pixel * pixels // shrink**2 + 3 * min(pixels, max_pixels)
    if scans > 1:
        needed += COEFFICIENT_BYTES * components * pixels
    allowed = MEMORY_PER_PIXEL * max(max_pixels, DEFAULT_MAX_PIXELS)
    if needed > allowed:
        raise InputError(
            f"{size} of this {kind} take {needed >> 20:,} MB to decode, {allowed >> 20:,} MB are allowed; "
            f"raise run.max_pixels above {max(max_pixels, DEFAULT_MAX_PIXELS):,} or save the picture smaller",
            kind="too_large",
        )
    return Opened(file, kind, shrink)


def jpeg_components(content: bytes) -> int:
    """Walks a JPEG's segments up to its first scan, in steps that are bounded, and counts its colour components."""
    place, components = 2, 0
    for _ in range(MAX_SEGMENTS):
        start = MARKER.search(content, place, place + MAX_JUNK_BYTES)
        code = start and FIRST_OTHER_BYTE.search(content, start.start(), start.start() + MAX_JUNK_BYTES)
        if code is None:
            break
        marker, place = content[code.start()], code.start() + 1
        if marker in (START_OF_SCAN, END_OF_IMAGE):
            return max(components, 1)
        if marker == 0 or marker in STANDALONE:
            continue
        if place + 2 > len(content):
            break
        if marker in START_OF_FRAME and place + 8 <= len(content):
            components = content[place + 7]
        place += max(2, int.from_bytes(content[place : place + 2], "big"))
    raise SyntaxError("no scan follows its header")


def check_chunks(content: bytes) -> None:
    """Walks a PNG's chunks in steps that are bounded."""
    place = 8
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(content):
            return
        place += 12 + int.from_bytes(content[place : place + 4], "big")
    raise SyntaxError(f"it has more than {MAX_CHUNKS:,} chunks")
