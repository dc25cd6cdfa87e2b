"""The JSON that LabelMe, and the tools that follow it, keep beside a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tlg.documents import parse
from tlg.errors import SpecError
from tlg.exemplars.drawing import Drawing, Point

# A circle's outline has so many corners.
CIRCLE_CORNERS = 36
POLYGONS, STROKES = ("polygon", "rotation"), ("line", "linestrip")
KNOWN = (*POLYGONS, "rectangle", "circle", *STROKES, "point", "points")


def drawing_in(text: str, class_name: str, source: str) -> Drawing | None:
    """What is drawn of the class; None where the file is somebody else's JSON, without `shapes`."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source}: not JSON: {error}; expected LabelMe's file of the picture beside it") from None
    if not isinstance(content, dict) or "shapes" not in content:
        return None
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise SpecError(f"{source}: `shapes` is no list of shapes; expected LabelMe's file of the picture beside it")
    own = [shape for shape in shapes if str(shape.get("label", "")).strip().casefold() == class_name.casefold()]
    if not own:
        labels = ", ".join(sorted({repr(shape.get("label")) for shape in shapes})) or "no shapes"
        raise SpecError(
            f"{source}: found {labels}, expected a shape labelled '{class_name}', as its folder is named;"
            " rename the label or the folder"
        )
    drawn: dict[str, list[Any]] = {}
    for shape in own:
        kind, items = _as_drawn(shape, source)
        drawn.setdefault(kind, []).extend(items)
    return parse(Drawing, drawn, source)


def _as_drawn(shape: Mapping[str, Any], source: str) -> tuple[str, list[Any]]:
    """The field of a drawing that a shape belongs to, and what it adds there."""
    kind, points = shape.get("shape_type") or "polygon", _points(shape, source)
    if kind in POLYGONS:
        return "polygons", [points]
    if kind == "rectangle":
        across, down = zip(*points, strict=True)
        return "boxes", [(min(across), min(down), max(across) - min(across), max(down) - min(down))]
    if kind == "circle":
        return "polygons", [_circle(points[0], math.dist(points[0], points[-1]))]
    if kind in STROKES:
        return "scribbles", [{"points": points}]
    if kind in ("point", "points"):
        return "points", points
    raise SpecError(
        f"{source}: a shape of type {kind!r} cannot be read; known are {', '.join(KNOWN)}, and a mask may lie beside"
        " the picture as `NAME.mask.png`"
    )


def _points(shape: Mapping[str, Any], source: str) -> list[Point]:
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError):
        points = []
    if not points:
        raise SpecError(f"{source}: the shape labelled {shape.get('label')!r} has no `points` like [[x, y], ...]")
    return points


def _circle(centre: Point, radius: float) -> list[Point]:
    turns = [2 * math.pi * corner / CIRCLE_CORNERS for corner in range(CIRCLE_CORNERS)]
    return [(centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns]
