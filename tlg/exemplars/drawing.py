"""What a person draws on an exemplar, in the picture's own pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, TypeVar

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from tlg.documents import Document
from tlg.errors import SpecError

# Labelling tools round what they write down: this far outside of a picture is still its rim.
ROUNDING_PIXELS = 1.0

T = TypeVar("T")
Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Coordinate, Coordinate]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]
Polygon = Annotated[list[Point], Field(min_length=3)]


class Scribble(Document):
    """A stroke that lies on the class."""

    points: list[Point] = Field(min_length=1, description="`[x, y]` in pixels, in the order of the stroke")
    width: float = Field(5.0, gt=0, allow_inf_nan=False, description="Of the stroke, in pixels")


class Drawing(Document):
    """Coordinates are pixels, counted from the upper left corner of the picture as it is shown."""

    polygons: list[Polygon] = Field(default=[], description="Outlines of the class, each `[[x, y], ...]` in pixels")
    boxes: list[Box] = Field(default=[], description="`[x, y, width, height]` in pixels, around the class's objects")
    points: list[Point] = Field(default=[], description="`[x, y]` in pixels, on the class")
    not_points: list[Point] = Field(default=[], description="`[x, y]` in pixels, beside the class")
    scribbles: list[Scribble] = Field(default=[], description="Strokes on the class")

    @property
    def says_where(self) -> bool:
        """Points beside the class alone do not say where the class is."""
        return bool(self.polygons or self.boxes or self.points or self.scribbles)

    @property
    def needs_affinity(self) -> bool:
        """Outlines are masks as they are; the rest becomes a mask by what the picture shows."""
        return bool(self.boxes or self.points or self.scribbles)

    def content(self) -> str:
        """The same text for the same drawing, empty for none."""
        return self.model_dump_json(exclude_defaults=True) if self != Drawing() else ""

    def scaled(self, across: float, down: float) -> Drawing:
        """The drawing on the same picture of another size."""

        def moved(points: list[Point]) -> list[Point]:
            return [(x * across, y * down) for x, y in points]

        return Drawing(
            polygons=[moved(polygon) for polygon in self.polygons],
            boxes=[(x * across, y * down, width * across, height * down) for x, y, width, height in self.boxes],
            points=moved(self.points),
            not_points=moved(self.not_points),
            scribbles=[
                Scribble(points=moved(scribble.points), width=scribble.width * (across * down) ** 0.5)
                for scribble in self.scribbles
            ],
        )


class Drawn(Drawing):
    """The entry of a picture that carries a drawing beside other things."""

    @property
    def drawing(self) -> Drawing:
        return Drawing(**{kind: getattr(self, kind) for kind in Drawing.model_fields})


def check_fits(drawing: Drawing, height: int, width: int, picture: str) -> None:
    """Raises SpecError where a drawing leaves its picture, is empty or says nothing."""
    if drawing != Drawing() and not drawing.says_where:
        raise SpecError(
            f"{picture} carries `not_points` alone, which do not say where the class is;"
            " add points, boxes, scribbles or polygons that do"
        )
    for name, (x, y, box_width, box_height) in _numbered("boxes", drawing.boxes):
        if box_width <= 0 or box_height <= 0:
            raise SpecError(
                f"{name} of {picture} is {box_width:g} wide and {box_height:g} high; expected [x, y, width, height]"
                " with a width and a height above 0"
            )
        _check_inside(name, [(x, y), (x + box_width, y + box_height)], height, width, picture)
    for name, points in _strokes(drawing):
        _check_inside(name, points, height, width, picture)


def filled(polygons: list[list[Point]], height: int, width: int) -> np.ndarray:
    """(height, width) bool: what lies within the outlines."""
    return _inked(height, width, lambda canvas: [canvas.polygon(polygon, fill=1) for polygon in polygons])


def inked(scribbles: list[Scribble], height: int, width: int) -> np.ndarray:
    """(height, width) bool: where the strokes run."""
    return _inked(height, width, lambda canvas: [_draw(canvas, scribble) for scribble in scribbles])


def _inked(height: int, width: int, draw: Callable[[ImageDraw.ImageDraw], object]) -> np.ndarray:
    image = Image.new("1", (width, height))
    draw(ImageDraw.Draw(image))
    return np.asarray(image).astype(bool)


def _draw(canvas: ImageDraw.ImageDraw, scribble: Scribble) -> None:
    canvas.line(scribble.points, fill=1, width=max(1, round(scribble.width)), joint="curve")
    radius = scribble.width / 2
    for x, y in (scribble.points[0], scribble.points[-1]):
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def _strokes(drawing: Drawing) -> Iterator[tuple[str, list[Point]]]:
    yield from _numbered("polygons", drawing.polygons)
    for kind, points in (("points", drawing.points), ("not_points", drawing.not_points)):
        yield from ((name, [point]) for name, point in _numbered(kind, points))
    yield from ((name, scribble.points) for name, scribble in _numbered("scribbles", drawing.scribbles))


def _numbered(kind: str, items: Sequence[T]) -> Iterator[tuple[str, T]]:
    return ((f"{kind}[{number}]", item) for number, item in enumerate(items))


def _check_inside(name: str, points: list[Point], height: int, width: int, picture: str) -> None:
    for x, y in points:
        if not (-ROUNDING_PIXELS <= x <= width + ROUNDING_PIXELS and -ROUNDING_PIXELS <= y <= height + ROUNDING_PIXELS):
            raise SpecError(
                f"{name} reaches ({x:g}, {y:g}), its image {picture} is {width}x{height}; expected pixels from"
                " (0, 0), the upper left corner, of the image as it is shown"
            )
