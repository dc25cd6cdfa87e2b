"""A mask as COCO polygons, exactly: drawing them gives the same mask again."""

from __future__ import annotations

import numpy as np

Ring = list[tuple[int, int]]
# Direction of a boundary step -> the steps to try next, sharpest right turn first: pixels that touch only at
# a corner become separate rings.
_STEPS = {(1, 0): ((0, 1), (1, 0), (0, -1)), (0, 1): ((-1, 0), (0, 1), (1, 0))}
_STEPS |= {(-1, 0): ((0, -1), (-1, 0), (0, 1)), (0, -1): ((1, 0), (0, -1), (-1, 0))}


def from_mask(mask_HW: np.ndarray) -> list[list[float]]:
    """Rings [x1, y1, x2, y2, ...] along pixel edges, one per connected part, in reading order.

    COCO polygons know no holes, so a hole is joined to the ring around it by a bridge without width.
    """
    outlines: list[Ring] = []
    holes: list[Ring] = []
    for ring in _rings(mask_HW):
        (outlines if _doubled_area(ring) > 0 else holes).append(ring)
    parts = [(ring, _row_spans(ring)) for ring in outlines]
    for hole in sorted(holes, key=lambda ring: min(ring)):
        _join(hole, parts)
    return [[float(side) for point in ring for side in point] for ring, _ in parts]


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
        following = next(one for one in _STEPS[step] if one in steps[point])
        steps[point].remove(following)
        if following != step:
            corners.append(point)
        step = following
        point = (point[0] + step[0], point[1] + step[1])
    return corners


def _doubled_area(ring: Ring) -> int:
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1], strict=True))


def _row_spans(ring: Ring) -> list[tuple[int, int, int, int]]:
    """Vertical edges as (x, top, bottom, index of the edge's first corner)."""
    edges = enumerate(zip(ring, ring[1:] + ring[:1], strict=True))
    return [(x1, min(y1, y2), max(y1, y2), i) for i, ((x1, y1), (x2, y2)) in edges if x1 == x2]


def _join(hole: Ring, parts: list[tuple[Ring, list[tuple[int, int, int, int]]]]) -> None:
    """Splice the hole into the ring with the nearest edge to the left of the hole's leftmost corner."""
    x, y = min(hole)
    index = hole.index((x, y))
    turned = hole[index:] + hole[:index]
    nearest: tuple[int, int, int] | None = None
    for number, (_, spans) in enumerate(parts):
        for edge_x, top, bottom, corner in spans:
            if edge_x < x and top <= y <= bottom and (nearest is None or edge_x > nearest[0]):
                nearest = (edge_x, number, corner)
    assert nearest is not None, "a hole lies inside an outline"
    edge_x, number, corner = nearest
    ring = parts[number][0]
    bridge = (edge_x, y)
    ring[corner + 1 : corner + 1] = [bridge, *turned, turned[0], bridge]
    parts[number] = (ring, _row_spans(ring))
