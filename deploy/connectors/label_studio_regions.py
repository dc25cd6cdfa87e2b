"""What the regions of a Label Studio task show of each label: a mask where it was brushed, else what was drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from tlg.answers.formats import label_studio
from tlg.errors import InputError
from tlg.exemplars import Drawing
from tlg.exemplars.drawing import Point

# Which key of a region's value holds its labels.
LABEL_KINDS = (
    "brushlabels",
    "polygonlabels",
    "rectanglelabels",
    "ellipselabels",
    "keypointlabels",
    "choices",
    "labels",
)
# Of a pixel: beyond these a coordinate is the noise of sums.
DECIMALS = 3
# An ellipse's outline has so many corners.
ELLIPSE_CORNERS = 36


@dataclass(frozen=True)
class Shown:
    """What a task shows of a label; its name alone where nothing was drawn."""

    mask: bytes | None = None  # PNG
    drawing: Drawing = field(default_factory=Drawing)


def labels_of(task: dict[str, Any]) -> dict[str, Shown]:
    """Labels of a task's annotations; brush regions of one label make one mask.

    What a person skipped or cancelled says nothing. A region that cannot be read still names its label.
    """
    masks: dict[str, np.ndarray | None] = {}
    drawings: dict[str, Drawing] = {}
    for region, value in _regions(task):
        mask, drawing = _mask(region, value), _drawing(region, value)
        for name in _labels(value):
            masks[name] = _joined(masks.get(name), mask)
            drawings[name] = _with(drawings.get(name, Drawing()), drawing)
    return {
        name: Shown(None if mask is None else _png(mask), drawings[name] if drawings[name].says_where else Drawing())
        for name, mask in masks.items()
    }


def _regions(task: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for annotation in _list(task.get("annotations")):
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        for region in _list(annotation.get("result")):
            if isinstance(region, dict) and isinstance(region.get("value"), dict):
                yield region, region["value"]


def _labels(value: dict[str, Any]) -> list[str]:
    named = (label for kind in LABEL_KINDS for label in _list(value.get(kind)) if isinstance(label, str))
    return [name.strip() for name in named if name.strip()]


def _list(value: Any) -> list[Any]:
    """Strangers send anything: what is no list holds nothing."""
    return value if isinstance(value, list) else []


def _mask(region: dict[str, Any], value: dict[str, Any]) -> np.ndarray | None:
    if not isinstance(value.get("rle"), list):
        return None
    try:
        return label_studio.decode_brush(value["rle"], int(region["original_height"]), int(region["original_width"]))
    except (InputError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _joined(before: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray | None:
    if before is None or mask is None:
        return mask if before is None else before
    return before | mask if before.shape == mask.shape else before  # regions of one picture are of one size


def _png(mask_HW: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask_HW.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()


def _drawing(region: dict[str, Any], value: dict[str, Any]) -> Drawing:
    try:
        return _drawn(region, value, float(region["original_width"]), float(region["original_height"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return Drawing()


def _drawn(region: dict[str, Any], value: dict[str, Any], width: float, height: float) -> Drawing:
    """Label Studio counts in hundredths of the picture's sides, and turns a region around its own x and y."""

    def in_pixels(points: Sequence[Point]) -> list[Point]:
        hundredths = ((min(max(x, 0), 100), min(max(y, 0), 100)) for x, y in points)
        return [(round(x * width / 100, DECIMALS), round(y * height / 100, DECIMALS)) for x, y in hundredths]

    if "polygonlabels" in value:
        corners = in_pixels([(float(x), float(y)) for x, y in value["points"]])
        return Drawing(polygons=[corners])
    x, y = float(value["x"]), float(value["y"])
    if "keypointlabels" in value:
        is_beside = region.get("is_positive") in (0, "0")
        place = in_pixels([(x, y)])
        return Drawing(not_points=place) if is_beside else Drawing(points=place)
    turn = math.radians(float(value.get("rotation") or 0))
    if "rectanglelabels" in value:
        across, down = float(value["width"]) * width, float(value["height"]) * height
        corners = in_pixels(_turned((x, y), turn, [(0, 0), (across, 0), (0, down), (across, down)], width, height))
        left, top = (min(sides) for sides in zip(*corners, strict=True))
        right, bottom = (max(sides) for sides in zip(*corners, strict=True))
        is_empty = right <= left or bottom <= top
        return Drawing() if is_empty else Drawing(boxes=[(left, top, right - left, bottom - top)])
    if "ellipselabels" in value:
        across, down = float(value["radiusX"]) * width, float(value["radiusY"]) * height
        angles = [2 * math.pi * corner / ELLIPSE_CORNERS for corner in range(ELLIPSE_CORNERS)]
        outline = [(across * math.cos(angle), down * math.sin(angle)) for angle in angles]
        return Drawing(polygons=[in_pixels(_turned((x, y), turn, outline, width, height))])
    return Drawing()


def _turned(origin: Point, turn: float, offsets: Sequence[Point], width: float, height: float) -> list[Point]:
    """Hundredths of the picture's sides from an origin in the same and offsets in hundredths of pixels, turned there.

    A turn is a turn in pixels: hundredths of two sides have two lengths.
    """
    cosine, sine = math.cos(turn), math.sin(turn)
    return [
        (origin[0] + (across * cosine - down * sine) / width, origin[1] + (across * sine + down * cosine) / height)
        for across, down in offsets
    ]


def _with(before: Drawing, drawing: Drawing) -> Drawing:
    """Both drawings on one picture."""
    return Drawing(**{kind: [*getattr(before, kind), *getattr(drawing, kind)] for kind in Drawing.model_fields})
