"""A mask as COCO polygons, exactly: drawing them gives the same mask again."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

Ring = list[tuple[int, int]]
# Direction of a boundary step -> the steps to try next, sharpest right turn first: pixels that touch only at
# a corner become separate rings.
_STEPS = {(1, 0): ((0, 1), (1, 0), (0, -1)), (0, 1): ((-1, 0), (0, 1), (1, 0))}
_STEPS |= {(-1, 0): ((0, -1), (-1, 0), (0, 1)), (0, -1): ((1, 0), (0, -1), (-1, 0))}


class Point(NamedTuple):
    """An end of a bridge."""

    x: int
    y: int


def from_mask(mask_HW: np.ndarray) -> list[list[float]]:
    """Rings [x1, y1, x2, y2, ...] along pixel edges, one per connected part, in reading order.

    COCO polygons know no holes, so a hole is joined to the ring around it by a bridge without width.
    """
    rings = _rings(mask_HW)
    is_hole = [_doubled_area(ring) < 0 for ring in rings]
    bridges = _bridges(rings, is_hole)
    return [
        [float(side) for point in _joined(number, rings, bridges) for side in point]
        for number in range(len(rings))
        if not is_hole[number]
    ]


def _rings(mask_HW: np.ndarray) -> list[Ring]:
    """Closed boundaries with the marked side on the right: outlines turn clockwise, holes counter-clockwise."""
    padded = np.pad(mask_HW.astype(bool), 1)
    inside = padded[1:-1, 1:-1]
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, start, step in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # nothing above: the top edge runs right
        (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)),
        (padded[1:-1, :-2], (0, 1), (0, -1)),
    ):
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            steps.setdefault((x + start[0], y + start[1]), []).append(step)
    rings = []
    for origin in sorted(steps, key=lambda point: (point[1], point[0])):
        while steps[origin]:
            rings.append(_walk(origin, steps))
    return rings


def _walk(origin: tuple[int, int], steps: dict[tuple[int, int], Ring]) -> Ring:
    step = steps[origin].pop()
    corners, point = [origin], (origin[0] + step[0], origin[1] + step[1])
    while point != origin:
        following = next(turn for turn in _STEPS[step] if turn in steps[point])
        steps[point].remove(following)
        if following != step:
            corners.append(point)
        step = following
        point = (point[0] + step[0], point[1] + step[1])
    return corners


def _doubled_area(ring: Ring) -> int:
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1], strict=True))


def _bridges(rings: list[Ring], is_hole: list[bool]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Where holes are joined on: (ring, corner at which a vertical edge begins) -> [(y, hole)] along that edge.

    From its leftmost corner a hole's bridge runs left to the nearest edge, which bounds the same run of marked pixels.
    """
    edges: dict[int, list[tuple[int, int, int]]] = {}  # row of pixels -> (x, ring, corner) of the edges at its side
    for number, ring in enumerate(rings):
        for corner, ((x, start), (_, end)) in enumerate(zip(ring, ring[1:] + ring[:1], strict=True)):
            for row in range(min(start, end), max(start, end)):
                edges.setdefault(row, []).append((x, number, corner))
    for beside in edges.values():
        beside.sort()
    bridges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for hole in (number for number, ring in enumerate(rings) if is_hole[number]):
        x, y = min(rings[hole])
        _, number, corner = edges[y][bisect_left(edges[y], (x, 0, 0)) - 1]
        bridges.setdefault((number, corner), []).append((y, hole))
    for (number, corner), holes in bridges.items():
        ring = rings[number]
        runs_down = ring[corner][1] < ring[(corner + 1) % len(ring)][1]
        holes.sort(reverse=not runs_down)
    return bridges


def _joined(outline: int, rings: list[Ring], bridges: dict[tuple[int, int], list[tuple[int, int]]]) -> Ring:
    """The corners of an outline, with those of the holes that are joined to it, and to them, in between."""
    corners: Ring = []
    # What is left to walk: corners of a ring with what is joined behind each, or a single point.
    waiting: list[tuple[int, int] | Point] = [(outline, corner) for corner in reversed(range(len(rings[outline])))]
    while waiting:
        step = waiting.pop()
        if isinstance(step, Point):
            corners.append((step.x, step.y))
            continue
        number, corner = step
        corners.append(rings[number][corner])
        x = rings[number][corner][0]
        for y, hole in reversed(bridges.get((number, corner), [])):
            ring = rings[hole]
            first = ring.index(min(ring))
            around = [(hole, (first + place) % len(ring)) for place in range(len(ring))]
            waiting.append(Point(x, y))
            waiting.append(Point(*ring[first]))
            waiting += reversed(around)
            waiting.append(Point(x, y))
    return corners
