"""How large the things of each class are, as its exemplars show them, and what follows for a picture.

An exemplar's pixels are taken for the collection's: a thing 60 pixels long in its exemplar is 60 pixels long there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tlg.answers.regions import regions_of
from tlg.exemplars import LoadedExemplar, LoadedExemplars
from tlg.spec import Tile

# A picture is large where it is so many times as long as what the model reads.
LARGE = 3.0
# A thing is small where the model, shown the whole picture, would see it in fewer pixels than these.
LEAST_SEEN = 12.0
# A tile is so many times as long as the smallest of the classes' things; at twice that the models saw few of them.
THINGS_PER_TILE = 4
# Of a marked exemplar, regions smaller than this share of the largest are crumbs.
CRUMB = 0.1

Box = tuple[float, float, float, float]  # x, y, width, height
# Where the class is in an exemplar that nobody marked, as the model itself sees it: (h, w) bool.
Look = Callable[[str, LoadedExemplar], np.ndarray]


@dataclass(frozen=True)
class Choice:
    """Tiles of `side` pixels answer these classes; the whole look answers the others."""

    side: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Things:
    """Boxes of things by class and exemplar."""

    boxes: Mapping[str, Sequence[Sequence[Box]]]

    @staticmethod
    def of(exemplars: LoadedExemplars, look: Look) -> Things:
        return Things({of.name: [_boxes(of.name, shown, look) for shown in of.exemplars] for of in exemplars.classes})

    def size(self, name: str) -> float | None:
        """The class's usual thing, its longer side in pixels; None where no exemplar shows where it is."""
        sizes = [max(width, height) for of_one in self.boxes[name] for _, _, width, height in of_one]
        return float(np.median(sizes)) if sizes else None

    def choice(self, longest: int, input_side: int, scale: float) -> Choice | None:
        """By the classes whose things are small in a picture of this length; None where there are none."""
        sizes = {name: size * scale for name in self.boxes if (size := self.size(name)) is not None}
        small = {name: size for name, size in sizes.items() if size * input_side < LEAST_SEEN * longest}
        if not small:
            return None
        # Of a class whose exemplars do not show how large it is, tiles are asked as well.
        names = tuple(name for name in self.boxes if name in small or name not in sizes)
        return Choice(max(input_side // 2, round(THINGS_PER_TILE * min(small.values()))), names)


def choice_of(
    tile: Tile,
    things: Callable[[], Things],
    names: tuple[str, ...],
    longest: int,
    input_side: int | None,
    scale: float = 1.0,
) -> Choice | None:
    """How a picture whose longer side is `longest` is best looked at; None as a whole alone.

    `input_side` is what the model reads; `scale` is how much smaller than the image itself the picture is.
    """
    if isinstance(tile, int):
        return Choice(tile, names) if longest > tile else None
    if tile == "off" or input_side is None or longest < LARGE * input_side:
        return None
    return things().choice(longest, input_side, scale)


def _boxes(name: str, shown: LoadedExemplar, look: Look) -> list[Box]:
    if shown.mask is None and shown.drawing is not None and shown.drawing.boxes:
        return list(shown.drawing.boxes)
    mask_hw = look(name, shown) if shown.mask is None else shown.mask
    if not mask_hw.any():
        return []
    regions = regions_of(mask_hw)
    order = np.argsort(-regions.areas, kind="stable")
    kept = order[regions.areas[order] >= CRUMB * regions.areas.max()]
    return [(float(x), float(y), float(width), float(height)) for x, y, width, height in regions.boxes[kept]]
