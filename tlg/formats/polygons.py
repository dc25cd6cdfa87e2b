"""A mask's outline as COCO polygons that rasterise to the very same pixels.

Outlines run along pixel borders, so corners are whole numbers. COCO polygons know no holes: each hole is tied to
its surrounding outline by a cut without width, walked once in each direction, which rasterisers cancel out.
"""

from __future__ import annotations

import numpy as np

Point = tuple[int, int]
# Right, down, left, up; the marked pixel lies on the right-hand side of each step.
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def from_mask(mask_HW: np.ndarray) -> list[list[float]]:
    """Flat `[x, y, x, y, ...]` lists, one per connected outline."""
    outlines: list[list[Point]] = []
    holes: list[list[Point]] = []
    for loop in _loops(mask_HW):
        (outlines if _signed_area(loop) > 0 else holes).append(loop)
    # From right to left: a hole's cut may then end on the outline of a hole already tied.
    for hole in sorted(holes, key=lambda loop: -max(loop)[0]):
        _tie(outlines, hole)
    return [[float(value) for point in loop for value in point] for loop in outlines]


def _loops(mask_HW: np.ndarray) -> list[list[Point]]:
    """Closed corner lists around marked regions (clockwise on screen) and around holes (counter-clockwise)."""
    padded = np.pad(mask_HW.astype(np.int8), 1)
    ends: dict[Point, list[int]] = {}
    down = np.diff(padded, axis=0)[:, 1:-1]  # +1: marked below the border; -1: marked above
    across = np.diff(padded, axis=1)[1:-1, :]
    for direction, (ys, xs) in enumerate(
        (np.nonzero(down > 0), np.nonzero(across < 0), np.nonzero(down < 0), np.nonzero(across > 0))
    ):
        shift_x, shift_y = ((0, 0), (0, 0), (1, 0), (0, 1))[direction]
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            ends.setdefault((x + shift_x, y + shift_y), []).append(direction)
    loops = []
    while ends:
        start = next(iter(ends))
        direction = ends[start][0]
        loop: list[Point] = []
        point = start
        previous = None
        while True:
            choices = ends.get(point)
            if not choices:
                break
            # Where two regions touch at a corner, turning right keeps them apart.
            if previous is not None and len(choices) > 1:
                direction = (previous + 1) % 4 if (previous + 1) % 4 in choices else choices[0]
            else:
                direction = choices[0]
            choices.remove(direction)
            if not choices:
                del ends[point]
            if direction != previous:
                loop.append(point)
            previous = direction
            point = (point[0] + STEPS[direction][0], point[1] + STEPS[direction][1])
            if point == start:
                break
        loops.append(loop)
    return loops


def _signed_area(loop: list[Point]) -> int:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(loop, [*loop[1:], loop[0]], strict=True))


def _tie(outlines: list[list[Point]], hole: list[Point]) -> None:
    """Cut from the hole's rightmost corner straight right to the nearest outline, and splice the hole in there."""
    x, y = max(hole)
    nearest: tuple[int, list[Point], int] | None = None
    for outline in outlines:
        for place, ((x0, y0), (x1, y1)) in enumerate(zip(outline, [*outline[1:], outline[0]], strict=True)):
            if x0 == x1 and x0 > x and min(y0, y1) <= y <= max(y0, y1) and (nearest is None or x0 < nearest[0]):
                nearest = (x0, outline, place)
    if nearest is None:
        raise AssertionError("a hole lies inside an outline")
    border, outline, place = nearest
    begin = hole.index((x, y))
    walk = hole[begin:] + hole[: begin + 1]
    outline[place + 1 : place + 1] = [(border, y), *walk, (border, y)]
