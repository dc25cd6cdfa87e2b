"""Files as real collections have them: each with what must become of it, `mask` or an error type."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 48


def disc(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A bright disc on dark ground."""
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2
    return np.where(inside[..., None], np.uint8([220, 180, 60]), np.uint8([20, 30, 40]))


def write(folder: Path) -> dict[str, str]:
    """Write them all; name -> expected status or error type."""
    folder.mkdir(parents=True, exist_ok=True)
    rgb = Image.fromarray(disc())
    grey = rgb.convert("L")
    expected: dict[str, str] = {}

    def put(name: str, content: bytes, outcome: str = "mask") -> None:
        (folder / name).write_bytes(content)
        expected[name] = outcome

    def saved(image: Image.Image, kind: str, **options: object) -> bytes:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        return stream.getvalue()

    jpeg, png = saved(rgb, "JPEG", quality=90), saved(rgb, "PNG")
    put("plain.jpg", jpeg)
    put("progressive.jpg", saved(rgb, "JPEG", progressive=True))
    put("grey.jpg", saved(grey, "JPEG"))
    put("cmyk.jpg", saved(rgb.convert("CMYK"), "JPEG"))
    exif = Image.Exif()
    exif[0x0112] = 6
    put("on its side.jpg", saved(Image.fromarray(disc(40, 60)), "JPEG", exif=exif))
    put("garbage after the end.jpg", jpeg + b"\0garbage" * 50)
    put("UPPER.JPG", jpeg)
    put("füchse & hasen #1 100%.jpg", jpeg)
    put("a png really.jpg", png)
    put("palette.png", saved(rgb.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"))
    put("palette with transparency.png", saved(rgb.convert("P", palette=Image.Palette.ADAPTIVE), "PNG", transparency=0))
    put("rgba.png", saved(rgb.convert("RGBA"), "PNG"))
    put("grey with alpha.png", saved(grey.convert("LA"), "PNG"))
    put("one bit.png", saved(grey.point(lambda value: 255 * (value > 100)).convert("1"), "PNG"))
    deep = np.asarray(grey).astype(np.uint16) * 256
    put("sixteen bits.png", saved(Image.fromarray(deep), "PNG"))
    put("sixteen bits.tiff", saved(Image.fromarray(deep), "TIFF"))
    put("floats.tif", saved(Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "TIFF"))
    holes = np.asarray(grey).astype(np.float32)
    holes[0, 0] = np.nan
    put("floats with holes.tif", saved(Image.fromarray(holes), "TIFF"))
    put("packed.tiff", saved(rgb, "TIFF", compression="tiff_lzw"))
    put("pages.tiff", saved(rgb, "TIFF", save_all=True, append_images=[rgb, rgb]))
    put("plain.bmp", saved(rgb, "BMP"))
    put("moving.gif", saved(rgb, "GIF", save_all=True, append_images=[grey.convert("RGB")]))
    put("plain.webp", saved(rgb, "WEBP"))
    put("moving.webp", saved(rgb, "WEBP", save_all=True, append_images=[grey.convert("RGB")]))
    put("plain.ppm", saved(rgb, "PPM"))
    put("thin.png", saved(Image.fromarray(disc(3, 900)), "PNG"))
    put("large.png", saved(Image.fromarray(disc(900, 1200)), "PNG"))
    put("one pixel.png", saved(Image.new("RGB", (1, 1), (9, 9, 9)), "PNG"), "absent")
    put("one colour.png", saved(Image.new("RGB", (30, 20), (9, 9, 9)), "PNG"), "absent")

    put("empty.jpg", b"", "empty")
    put("text.jpg", b"This is not a picture.\n", "not_an_image")
    put("error page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image")
    put("document.png", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "not_an_image")
    put("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image")
    put("zeros.jpg", bytes(4000), "not_an_image")
    put("header only.jpg", jpeg[:20], "not_an_image")
    put("cut short.jpg", jpeg[: len(jpeg) // 2], "truncated")
    put("cut short.png", png[: len(png) // 2], "truncated")
    put("cut short.webp", saved(rgb, "WEBP")[:60], "not_an_image")
    put("cut short.tiff", saved(rgb, "TIFF")[: SIDE * SIDE], "truncated")
    put("cut short.bmp", saved(rgb, "BMP")[:2000], "truncated")
    put("a bomb.png", _png_header(40_000, 40_000), "too_large")
    put("no pixels.png", _png_header(0, 10), "not_an_image")
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    expected["nowhere.jpg"] = "vanished"
    return expected


def _png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (header, data)
    )
    return b"\x89PNG\r\n\x1a\n" + chunks
