"""How pictures appear in a notebook."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def thumbnail(pixels: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return image


def img_tag(image: Image.Image) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png(image)).decode("ascii")}">'
