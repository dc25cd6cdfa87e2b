"""The pictures that answers are about, for formats that carry them along."""

from __future__ import annotations

import io

from PIL import Image

from tlg import pictures


def as_png(content: bytes) -> bytes:
    """A picture of any type that we read, upright."""
    picture = pictures.decode(content, pictures.HARD_MAX_PIXELS)
    stream = io.BytesIO()
    Image.fromarray(picture.pixels).save(stream, "PNG")
    return stream.getvalue()
