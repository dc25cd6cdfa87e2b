"""Exemplars as tiles show them: large pictures are cut to windows around their things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tlg.annotators.tiles.things import Box, Things
from tlg.exemplars import LoadedExemplar, LoadedExemplars
from tlg.exemplars.drawing import Drawing, Point, Scribble

# What is not longer than so many tiles is shown as it is.
NEARLY_A_TILE = 1.5
WINDOWS_PER_EXEMPLAR = 3
# Of a large negative as many windows, spread along its diagonal.
WINDOWS_PER_NEGATIVE = 4


def in_windows(exemplars: LoadedExemplars, things: Things, side: int) -> LoadedExemplars:
    """The set with every exemplar about as large as a tile; the same object where all are already."""
    shown = [exemplar for of in exemplars.classes for exemplar in of.exemplars] + list(exemplars.negatives)
    if not any(_is_large(exemplar, side) for exemplar in shown):
        return exemplars
    classes = []
    for of in exemplars.classes:
        pairs = zip(of.exemplars, things.boxes[of.name], strict=True)
        cut = [window for exemplar, boxes in pairs for window in _windows(exemplar, boxes, side)]
        classes.append(replace(of, exemplars=tuple(cut)))
    negatives = tuple(window for exemplar in exemplars.negatives for window in _of_negative(exemplar, side))
    return replace(exemplars, classes=tuple(classes), negatives=negatives)


def _is_large(exemplar: LoadedExemplar, side: int) -> bool:
    return max(exemplar.pixels.shape[:2]) > NEARLY_A_TILE * side


def _windows(exemplar: LoadedExemplar, boxes: Sequence[Box], side: int) -> Iterator[LoadedExemplar]:
    """Around the largest things that fit into half a tile; a picture without such a thing stays whole."""
    fitting = [box for box in boxes if max(box[2:]) <= side / 2]
    if not fitting or not _is_large(exemplar, side):
        yield exemplar
        return
    seen: set[tuple[int, int]] = set()
    for x, y, width, height in fitting[:WINDOWS_PER_EXEMPLAR]:
        top, left = _corner(exemplar, y + height / 2, x + width / 2, side)
        if (top, left) not in seen:
            seen.add((top, left))
            yield _cut(exemplar, top, left, side)


def _of_negative(exemplar: LoadedExemplar, side: int) -> Iterator[LoadedExemplar]:
    if not _is_large(exemplar, side):
        yield exemplar
        return
    height, width = exemplar.pixels.shape[:2]
    for part in (np.arange(WINDOWS_PER_NEGATIVE) + 0.5) / WINDOWS_PER_NEGATIVE:
        yield _cut(exemplar, *_corner(exemplar, part * height, part * width, side), side)


def _corner(exemplar: LoadedExemplar, y: float, x: float, side: int) -> tuple[int, int]:
    """Of a window around the place that does not leave the picture."""
    height, width = exemplar.pixels.shape[:2]
    return max(0, min(round(y - side / 2), height - side)), max(0, min(round(x - side / 2), width - side))


def _cut(exemplar: LoadedExemplar, top: int, left: int, side: int) -> LoadedExemplar:
    within = np.s_[top : top + side, left : left + side]
    mask = None if exemplar.mask is None else np.ascontiguousarray(exemplar.mask[within])
    drawing = None if exemplar.drawing is None else _cut_drawing(exemplar.drawing, top, left, side)
    pixels = np.ascontiguousarray(exemplar.pixels[within])
    return LoadedExemplar(f"{exemplar.uri}#{left},{top},{side},{side}", pixels, mask, drawing)


def _cut_drawing(drawing: Drawing, top: int, left: int, side: int) -> Drawing | None:
    """What of it lies in the window; None where that does not say any more where the class is."""

    def inside(points: Sequence[Point]) -> bool:
        return all(left <= x <= left + side and top <= y <= top + side for x, y in points)

    def moved(points: Sequence[Point]) -> list[Point]:
        return [(x - left, y - top) for x, y in points]

    boxes = [
        (x - left, y - top, width, height)
        for x, y, width, height in drawing.boxes
        if inside([(x, y), (x + width, y + height)])
    ]
    cut = Drawing(
        boxes=boxes,
        points=moved([point for point in drawing.points if inside([point])]),
        not_points=moved([point for point in drawing.not_points if inside([point])]),
        scribbles=[
            Scribble(points=moved(stroke.points), width=stroke.width)
            for stroke in drawing.scribbles
            if inside(stroke.points)
        ],
    )
    return cut if cut.says_where else None
