"""Surfaces with flaws: every factory has one kind of surface and three kinds of flaw that come again.

Shapes: S pixels a side; values of 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tlg.recipes.photo.drawing import Labelled, chance, pick, sample, whole
from tlg.recipes.photo.photographs import Photograph, label_map, picture
from tlg.world.textures import BACKGROUNDS

# Class ids of flaws: a factory's types follow one another.
FIRST_FLAW, IDS_OF_A_FACTORY, TYPES = 1000, 4, 3
# Sizes below are those of pictures of this side; others scale.
DRAWN_AT = 384
# A piece of a photograph is ground if the class covers it, and worth looking for where enough is there.
COVERED, ENOUGH, TRIES = 0.98, 5000, 30
SHAPES = ("scratch", "blob", "dots", "patch", "strip", "crack")
LOOKS = ("shift", "shift", "texture", "rough", "ring")


@dataclass(frozen=True)
class Flaw:
    """One type of flaw: its outline, and how it differs from the ground."""

    shape: str
    look: str
    shift: float
    angle: float
    spread: float
    width: float
    count: int
    grain: float
    strength: float

    @staticmethod
    def drawn(rng: np.random.Generator) -> Flaw:
        return Flaw(
            shape=pick(rng, SHAPES),
            look=pick(rng, LOOKS),
            shift=pick(rng, (-1, 1)) * rng.uniform(0.08, 0.35),
            angle=rng.uniform(0, 180),
            spread=pick(rng, (5, 15, 90)),
            width=rng.uniform(2, 9),
            count=whole(rng, 1, 6),
            grain=rng.uniform(10, 80),
            strength=rng.uniform(0.3, 1),
        )


class Factory:
    """Its surface is rolled (noise along a direction), drawn by the world, or a piece of a photograph."""

    def __init__(
        self, seed: Sequence[int], number: int, photographs: Sequence[Photograph], surfaces: Sequence[int], side: int
    ) -> None:
        rng = np.random.default_rng([*seed, number])
        self.number, self.photographs, self.side = number, photographs, side
        self.kind = pick(rng, ("rolled", "rolled", "drawn", "photograph"))
        self.bumps = pick(rng, ((2, 2), (2, 24), (24, 2), (6, 6), (40, 3)))
        self.roughness = rng.uniform(0.5, 1)
        self.level, self.contrast = rng.uniform(0.25, 0.75), rng.uniform(0.02, 0.12)
        plain = self.kind == "rolled" or chance(rng, 0.5)
        self.tint = np.ones(3, np.float32) if plain else rng.uniform(0.8, 1.2, 3).astype(np.float32)
        self.ground, self.grey = pick(rng, list(BACKGROUNDS)), chance(rng, 0.6)
        self.class_id = pick(rng, surfaces)
        self.flaws = [Flaw.drawn(rng) for _ in range(TYPES)]

    def picture(self, rng: np.random.Generator) -> Labelled:
        """One or two types of flaw on the factory's surface."""
        side = self.side
        values = self._surface(rng) * rng.uniform(0.8, 1.2)
        label = np.zeros((side, side), np.int16)
        for number in sample(rng, range(TYPES), pick(rng, (1, 1, 1, 2, 2))):
            flaw = self.flaws[number]
            mask = outline(rng, flaw, side)
            cover = blurred(mask, 1.2)[..., None]
            values = values + cover * flaw.strength**0.3 * (flawed(rng, flaw, values, mask) - values)
            label[mask] = FIRST_FLAW + IDS_OF_A_FACTORY * self.number + number
        values = values + 0.015 * rng.standard_normal((side, side, 1)).astype(np.float32)
        return Labelled((np.clip(values, 0, 1) * 255).astype(np.uint8), label)

    def _surface(self, rng: np.random.Generator) -> np.ndarray:
        """(S,S,3)"""
        found = self._piece(rng) if self.kind == "photograph" else None
        if self.kind == "drawn":
            found = BACKGROUNDS[self.ground](rng, self.side).astype(np.float32)
        if found is not None:
            return found.mean(2, keepdims=True).repeat(3, 2) if self.grey else found
        rolled = self.level + self.contrast * layered_noise(rng, self.side, *self.bumps, self.roughness)
        return rolled[..., None] * self.tint

    def _piece(self, rng: np.random.Generator) -> np.ndarray | None:
        """A piece of a photograph that the factory's class covers; None where no such piece was met."""
        for _ in range(TRIES if self.photographs else 0):
            photograph = pick(rng, self.photographs)
            ground = label_map(photograph) == self.class_id
            if ground.sum() < ENOUGH:
                continue
            side = whole(rng, 50, 90)
            y, x = whole(rng, 0, ground.shape[0] - side), whole(rng, 0, ground.shape[1] - side)
            if ground[y : y + side, x : x + side].mean() > COVERED:
                piece = picture(photograph).crop((x, y, x + side, y + side))
                return np.asarray(piece.resize((self.side, self.side), Image.Resampling.BICUBIC), np.float32) / 255
        return None


def flawed(rng: np.random.Generator, flaw: Flaw, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the surface would be if the flaw were everywhere."""
    side = len(mask)
    if flaw.look == "shift":
        return values + flaw.shift
    if flaw.look == "texture":
        grain = layered_noise(rng, side, flaw.grain, flaw.grain, 0.7)[..., None] * np.ones(3, np.float32)
        return values.mean() + flaw.shift * 0.5 + 0.12 * grain
    if flaw.look == "rough":
        return values + 0.15 * flaw.strength * rng.standard_normal((side, side, 1)).astype(np.float32)
    rim = 1 - 2 * np.abs(blurred(mask, 3)[..., None] - 0.5)
    return values + flaw.shift * rim * 1.5


def outline(rng: np.random.Generator, flaw: Flaw, side: int) -> np.ndarray:
    """(S,S) bool: where the flaw is this time."""
    count = max(1, flaw.count + whole(rng, -1, 2))
    if flaw.shape in ("patch", "blob"):
        return spots(rng, flaw.shape, count, side)
    image = Image.new("L", (DRAWN_AT, DRAWN_AT))
    for _ in range(count):
        stroke(rng, flaw, image)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)) > 127


def spots(rng: np.random.Generator, shape: str, count: int, side: int) -> np.ndarray:
    bumps, radii = ((4, 4), (0.12, 0.3)) if shape == "patch" else ((8, 8), (0.04, 0.12))
    edge = layered_noise(rng, side, *bumps, 0.5)
    y, x = np.mgrid[:side, :side] / side
    height = np.zeros((side, side), np.float32)
    for _ in range(count if shape == "blob" else whole(rng, 1, 2)):
        radius, across, down = rng.uniform(*radii), rng.random(), rng.random()
        height = np.maximum(height, np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * radius**2)))
    return height + 0.12 * edge > 0.55


def stroke(rng: np.random.Generator, flaw: Flaw, image: Image.Image) -> None:
    """One scratch, group of dots, strip or crack."""
    draw = ImageDraw.Draw(image)
    x, y = rng.uniform(0.05, 0.95, 2) * DRAWN_AT
    angle = np.radians(flaw.angle + rng.uniform(-1, 1) * flaw.spread)
    width, length = flaw.width * rng.uniform(0.7, 1.4), DRAWN_AT * rng.uniform(0.1, 0.5)
    if flaw.shape == "scratch":
        dx, dy = length * np.cos(angle) / 2, length * np.sin(angle) / 2
        draw.line([x - dx, y - dy, x + dx, y + dy], fill=255, width=int(width + 1))
    elif flaw.shape == "dots":
        for _ in range(whole(rng, 6, 20)):
            across, down, radius = x + rng.normal(0, 40), y + rng.normal(0, 40), width * rng.uniform(0.6, 1.3)
            draw.ellipse([across - radius, down - radius, across + radius, down + radius], fill=255)
    elif flaw.shape == "strip":
        lying = Image.new("L", image.size)
        ImageDraw.Draw(lying).ellipse([x - length / 2, y - 2 * width, x + length / 2, y + 2 * width], fill=255)
        image.paste(255, (0, 0), lying.rotate(-np.degrees(angle), center=(x, y)))
    else:
        points = [(x, y)]
        for _ in range(whole(rng, 6, 18)):
            angle += rng.normal(0, 0.5)
            points.append((points[-1][0] + 14 * np.cos(angle), points[-1][1] + 14 * np.sin(angle)))
        draw.line(points, fill=255, width=int(width * 0.7 + 2))


def layered_noise(rng: np.random.Generator, side: int, columns: float, rows: float, roughness: float) -> np.ndarray:
    """(S,S) of unit deviation: smooth noise, each layer twice as fine as the last and `roughness` times as strong."""
    total, strength = np.zeros((side, side), np.float32), 1.0
    while max(columns, rows) < 400:
        grid = Image.fromarray(rng.random((max(1, int(rows)), max(1, int(columns))), np.float32))
        total += strength * (np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) - 0.5)
        columns, rows, strength = columns * 2, rows * 2, strength * roughness
    return total / (total.std() + 1e-6)


def blurred(mask: np.ndarray, radius: float) -> np.ndarray:
    """(S,S) of 0..1"""
    image = Image.fromarray((mask * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
