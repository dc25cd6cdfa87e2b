"""What one core decodes and encodes: our decoder beside the libraries it could be, our masks beside bare pycocotools.

Figures are images per second of processor time of one thread, so that what else a machine does counts little.
"""

from __future__ import annotations

import importlib.util
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision.io
from harness import Row
from PIL import Image
from pycocotools import mask as coco_mask
from torchvision.io import ImageReadMode

from tlg import pictures, world
from tlg.answers import records

PHOTO_SIZE = (1600, 1200)
# `max_pixels` for which a photo is decoded at a reduced scale: a quarter of each side.
REDUCED_PIXELS = 400 * 300
MASK_SIDE = 1024
REPEATS = 5
WARM_UP_CALLS = 5
SECONDS_PER_REPEAT = 0.25

Decoder = Callable[[bytes], object]


def processor_seconds() -> float:
    """Of this process and of those that it started: pictures are decoded in one of them."""
    lists = [task.read_text().split() for task in Path("/proc/self/task").glob("*/children")]
    nanoseconds = [int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pids in lists for pid in pids]
    return time.process_time() + sum(nanoseconds) / 1e9


def rate(action: Callable[[], object]) -> tuple[float, float]:
    """Median calls per second of processor time, and half the range."""
    for _ in range(WARM_UP_CALLS):
        action()
    rates = []
    for _ in range(REPEATS):
        count, start = 0, processor_seconds()
        while (spent := processor_seconds() - start) < SECONDS_PER_REPEAT:
            action()
            count += 1
        rates.append(count / spent)
    return statistics.median(rates), (max(rates) - min(rates)) / 2


def photo() -> Image.Image:
    """A scene with the grain of a camera, which is what makes JPEG and PNG work."""
    rng = np.random.default_rng(0)
    drawn = world.scene(rng, 512, list(world.CLASSES)).image
    pixels = np.asarray(Image.fromarray(drawn).resize(PHOTO_SIZE, Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


def with_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def with_torchvision(content: bytes) -> np.ndarray:
    # Pixels come as planes; ours, and the network's resizing, want them together.
    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return torchvision.io.decode_image(encoded, ImageReadMode.RGB).permute(1, 2, 0).contiguous().numpy()


def decoders() -> dict[str, Decoder]:
    known: dict[str, Decoder] = {"Pillow alone": with_pillow, "torchvision.io": with_torchvision}
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)

        def with_opencv(content: bytes) -> np.ndarray:
            return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

        known["OpenCV"] = with_opencv
    return known


def one_megapixel(drawn: Image.Image) -> bytes:
    stream = io.BytesIO()
    drawn.resize((1155, 866)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def decoding_rows(kind: str, content: bytes) -> list[Row]:
    height, width = pictures.check_header(content)
    inputs = f"{width}x{height} {kind}, {len(content) / 1e3:.0f} kB"
    rows = []
    for name, decode in {"ours": pictures.decode, "ours, guarded": pictures.guarded_decode, **decoders()}.items():
        value, spread = rate(lambda decode=decode: decode(content))
        rows.append(Row(f"decode {kind}: {name}", value, "images/s of a core", "", spread, REPEATS, inputs))
    return rows


def reduced_rows(content: bytes) -> list[Row]:
    """A photo above `max_pixels`: ours lets the JPEG decoder skip what would be scaled away."""
    width, height = (side // 4 for side in PHOTO_SIZE)

    def whole_then_resized() -> np.ndarray:
        whole = Image.open(io.BytesIO(content)).convert("RGB")
        return np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR))

    rows = []
    for name, action in (
        ("ours", lambda: pictures.decode(content, REDUCED_PIXELS)),
        ("whole, then resized", whole_then_resized),
    ):
        value, spread = rate(action)
        inputs = f"JPEG of {PHOTO_SIZE[0]}x{PHOTO_SIZE[1]} to {width}x{height}"
        rows.append(Row(f"reduced JPEG: {name}", value, "images/s of a core", "", spread, REPEATS, inputs))
    return rows


def mask_rows() -> list[Row]:
    y, x = np.mgrid[:MASK_SIDE, :MASK_SIDE]
    mask = (np.hypot(y - 500, x - 400) < 300) ^ (np.hypot(y - 450, x - 500) < 120)
    prepared = np.asfortranarray(mask.astype(np.uint8))
    rle = records.encode_mask(mask)
    bare = {"size": rle["size"], "counts": rle["counts"].encode()}
    rows = []
    for name, action in (
        ("encode mask: ours", lambda: records.encode_mask(mask)),
        ("encode mask: pycocotools, its own memory order", lambda: coco_mask.encode(prepared)),
        ("encode mask: pycocotools, from (H, W) bool", lambda: coco_mask.encode(np.asfortranarray(mask, np.uint8))),
        ("decode mask: ours", lambda: records.decode_mask(rle)),
        ("decode mask: pycocotools", lambda: coco_mask.decode(bare)),
    ):
        value, spread = rate(action)
        rows.append(Row(name, value, "masks/s of a core", "", spread, REPEATS, f"{MASK_SIDE}x{MASK_SIDE}, two discs"))
    return rows


def measure() -> list[Row]:
    torch.set_num_threads(1)
    drawn = photo()
    encoded = {}
    for kind, options in (("JPEG", {"quality": 90}), ("PNG", {})):
        stream = io.BytesIO()
        drawn.save(stream, kind, **options)
        encoded[kind] = stream.getvalue()
    rows = [row for kind, content in encoded.items() for row in decoding_rows(kind, content)]
    rows += decoding_rows("small JPEG", one_megapixel(drawn))
    return rows + reduced_rows(encoded["JPEG"]) + mask_rows()
