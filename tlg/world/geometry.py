"""Outlines to build silhouettes from. The canvas of a shape is the square -1..1, x to the right, y downwards.

Every builder returns a list of parts, painted in order; a later part covers an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

CUT = 0
BODY = 1
TRIM = 2
DETAIL = 3

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Part:
    """A filled outline; `tone` picks the paint, and CUT makes a hole in what lies below."""

    outline: np.ndarray
    tone: int = BODY


def poly(points: Points | np.ndarray, tone: int = BODY) -> list[Part]:
    return [Part(np.asarray(points, np.float32), tone)]


def box(left: float, top: float, right: float, bottom: float, tone: int = BODY) -> list[Part]:
    return poly([(left, top), (right, top), (right, bottom), (left, bottom)], tone)


def arc(
    x: float, y: float, rx: float, ry: float, start: float, end: float, count: int = 24
) -> list[tuple[float, float]]:
    """Points on an ellipse from angle `start` to `end`, in degrees, clockwise as seen."""
    angles = np.radians(np.linspace(start, end, count))
    return [(float(x + rx * np.cos(a)), float(y + ry * np.sin(a))) for a in angles]


def disc(x: float, y: float, r: float, tone: int = BODY) -> list[Part]:
    return poly(arc(x, y, r, r, 0, 350, 36), tone)


def oval(x: float, y: float, rx: float, ry: float, tone: int = BODY, turn: float = 0) -> list[Part]:
    """An ellipse turned by `turn` degrees about its own centre."""
    points = np.asarray(arc(0, 0, rx, ry, 0, 350, 36))
    return poly(points @ rotation(turn).T + (x, y), tone)


def stroke(points: Points, width: float, tone: int = BODY) -> list[Part]:
    """A line of constant width with round joints and ends."""
    parts: list[Part] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
        nx, ny = -(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2
        parts += poly([(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)], tone)
    for x, y in points:
        parts += poly(arc(x, y, width / 2, width / 2, 0, 330, 12), tone)
    return parts


def blob(points: Points, tone: int = BODY) -> list[Part]:
    """A smooth closed curve through the points (Catmull-Rom)."""
    p = np.asarray(points, np.float32)
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    curve = [
        0.5 * (2 * p + (after - before) * t + (2 * before - 5 * p + 4 * after - beyond) * t**2
               + (3 * p - before - 3 * after + beyond) * t**3)
        for t in np.arange(6) / 6
    ]  # fmt: skip
    return poly(np.stack(curve, 1).reshape(-1, 2), tone)


def mirrored(right_half: Points) -> list[tuple[float, float]]:
    """A symmetric outline from its right half, given from top to bottom."""
    return [*right_half, *((-x, y) for x, y in reversed(right_half) if x != 0)]


def flipped(parts: list[Part]) -> list[Part]:
    """The parts seen in a mirror (left and right swapped)."""
    return [Part(part.outline * (-1, 1), part.tone) for part in parts]


def turned(parts: list[Part], degrees: float, about: tuple[float, float] = (0, 0)) -> list[Part]:
    turn = rotation(degrees)
    return [Part((part.outline - about) @ turn.T + about, part.tone) for part in parts]


def spokes(parts: list[Part], count: int) -> list[Part]:
    """The parts repeated `count` times around the centre."""
    return [part for k in range(count) for part in turned(parts, 360 * k / count)]


def radial(radii: Sequence[float], tone: int = BODY) -> list[Part]:
    """A closed outline of evenly spaced angles with the given radii: stars, gears, suns."""
    angles = np.radians(-90 + 360 * np.arange(len(radii)) / len(radii))
    r = np.asarray(radii)
    return poly(np.stack([r * np.cos(angles), r * np.sin(angles)], 1), tone)


def rotation(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]], np.float32)
