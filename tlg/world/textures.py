"""Surfaces: the named backgrounds of the world and the patterns that its objects wear.

Shapes: S pixels a side. A background is a float32 array (S,S,3) of 0..1.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image

Texture = Callable[[np.random.Generator, int], np.ndarray]

BACKGROUNDS: dict[str, Texture] = {}


def background(name: str) -> Callable[[Texture], Texture]:
    def register(texture: Texture) -> Texture:
        BACKGROUNDS[name] = texture
        return texture

    return register


def colour(rng: np.random.Generator, hue: float, saturation: float, value: float, spread: float = 0.06) -> np.ndarray:
    """An RGB colour near the given one; hue runs round."""
    h = (hue + rng.normal(0, spread * 0.5)) % 1
    s, v = np.clip([saturation + rng.normal(0, spread), value + rng.normal(0, spread)], 0, 1)
    return np.array(colorsys.hsv_to_rgb(h, s, v), np.float32)


def noise(rng: np.random.Generator, size: int, columns: int, rows: int | None = None) -> np.ndarray:
    """Smooth noise of 0..1 with about `columns` x `rows` bumps, (size,size)."""
    grid = Image.fromarray(rng.random((rows or columns, columns), np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BILINEAR))


def mix(share_SS: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """From `first` (share 0) to `second` (share 1)."""
    return first + share_SS[..., None] * (second - first)


def axes(rng: np.random.Generator, size: int, wobble: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates (x, y), broadcastable, or bent by smooth noise."""
    x = np.arange(size, dtype=np.float32)[None, :] + rng.uniform(0, 64)
    y = np.arange(size, dtype=np.float32)[:, None] + rng.uniform(0, 64)
    if wobble:
        x = x + wobble * noise(rng, size, 4)
        y = y + wobble * noise(rng, size, 4)
    return x, y


def fields(
    x: np.ndarray, y: np.ndarray, width: float, height: float, rng: np.random.Generator, brick: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A grid of fields: a random shade for each, and the distance in pixels to the nearest joint."""
    row = (y // height).astype(np.int32)
    x = x + (row % 2) * (width / 2) if brick else x
    column = (x // width).astype(np.int32)
    shade = rng.random((64, 64), np.float32)[row % 64, column % 64]
    joint = np.minimum(np.minimum(x % width, width - x % width), np.minimum(y % height, height - y % height))
    return shade, joint


@background("bricks")
def bricks(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size)
    width = rng.uniform(34, 60)
    shade, joint = fields(x, y, width, width * 0.45, rng, brick=True)
    wall = mix(shade * 0.6 + 0.4 * noise(rng, size, 50), colour(rng, 0.02, 0.6, 0.45), colour(rng, 0.04, 0.5, 0.7))
    return np.where((joint < rng.uniform(1.5, 3))[..., None], colour(rng, 0.1, 0.1, 0.75), wall)


@background("tiles")
def tiles(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size)
    width = rng.uniform(38, 70)
    shade, joint = fields(x, y, width, width, rng, brick=False)
    base = colour(rng, rng.uniform(0.4, 0.65), 0.2, 0.8)
    floor = mix(shade * 0.4, base, base * 0.75)
    return np.where((joint < rng.uniform(1.2, 2.5))[..., None], base * 0.45, floor)


@background("checkerboard")
def checkerboard(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size, wobble=rng.uniform(0, 10))
    width = rng.uniform(22, 44)
    field = ((x // width + y // width) % 2).astype(np.float32)
    dark = colour(rng, rng.random(), 0.4, 0.3)
    return mix(field, dark, colour(rng, rng.random(), 0.15, 0.85))


@background("wood")
def wood(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size)
    plank = rng.uniform(45, 90)
    grain = (
        np.sin((y + 24 * noise(rng, size, 3, 14)) * rng.uniform(0.35, 0.7)) * 0.25
        + 0.5
        + 0.3 * (noise(rng, size, 6, 120) - 0.5)
    )
    shade, joint = fields(x, y, 4 * size, plank, rng, brick=False)
    boards = mix(0.7 * grain + 0.3 * shade, colour(rng, 0.07, 0.6, 0.4), colour(rng, 0.09, 0.5, 0.7))
    return boards * np.where((joint < 1.3), 0.5, 1)[..., None]


@background("grass")
def grass(rng: np.random.Generator, size: int) -> np.ndarray:
    blades = 0.6 * noise(rng, size, 128, 40) + 0.4 * noise(rng, size, 8)
    return mix(blades, colour(rng, 0.3, 0.7, 0.22), colour(rng, 0.25, 0.6, 0.65))


@background("sand")
def sand(rng: np.random.Generator, size: int) -> np.ndarray:
    _, y = axes(rng, size)
    ripples = np.sin((y + 70 * noise(rng, size, 4)) * rng.uniform(0.12, 0.25)) * 0.2
    grains = rng.random((size, size), np.float32)
    return mix(
        np.clip(0.5 + ripples + 0.35 * (grains - 0.5), 0, 1), colour(rng, 0.1, 0.4, 0.6), colour(rng, 0.12, 0.3, 0.9)
    )


@background("soil")
def soil(rng: np.random.Generator, size: int) -> np.ndarray:
    lumps = 0.5 * noise(rng, size, 40) + 0.5 * noise(rng, size, 110)
    return mix(lumps, colour(rng, 0.06, 0.6, 0.15), colour(rng, 0.07, 0.45, 0.45))


@background("gravel")
def gravel(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size, wobble=28)
    width = rng.uniform(13, 22)
    shade, joint = fields(x, y, width, width * 0.85, rng, brick=True)
    stones = mix(shade, colour(rng, 0.6, 0.06, 0.35), colour(rng, 0.1, 0.1, 0.75))
    return stones * np.clip(0.35 + joint * 0.25, 0, 1)[..., None]


@background("concrete")
def concrete(rng: np.random.Generator, size: int) -> np.ndarray:
    stain = 0.6 * noise(rng, size, 6) + 0.4 * noise(rng, size, 128)
    return mix(stain, colour(rng, 0.1, 0.04, 0.45), colour(rng, 0.12, 0.04, 0.72))


@background("metal")
def metal(rng: np.random.Generator, size: int) -> np.ndarray:
    brushed = 0.5 * noise(rng, size, 3, 180) + 0.5 * noise(rng, size, 4, 2)
    return mix(brushed, colour(rng, 0.58, 0.12, 0.35), colour(rng, 0.56, 0.06, 0.85))


@background("water")
def water(rng: np.random.Generator, size: int) -> np.ndarray:
    _, y = axes(rng, size)
    waves = np.sin((y + 45 * noise(rng, size, 6, 9)) * rng.uniform(0.18, 0.4)) * 0.5 + 0.5
    return mix(
        waves**2 * 0.7 + 0.3 * noise(rng, size, 20, 60), colour(rng, 0.58, 0.75, 0.4), colour(rng, 0.52, 0.4, 0.85)
    )


@background("sky")
def sky(rng: np.random.Generator, size: int) -> np.ndarray:
    _, y = axes(rng, size)
    wisps = np.clip(0.7 * noise(rng, size, 3, 6) + 0.3 * noise(rng, size, 12, 20) - 0.4, 0, 1) * 1.8
    air = mix(
        np.broadcast_to(y / (size + 64), (size, size)), colour(rng, 0.58, 0.6, 0.75), colour(rng, 0.55, 0.25, 0.9)
    )
    return air + np.clip(wisps, 0, 1)[..., None] * (0.97 - air)


@background("snow")
def snow(rng: np.random.Generator, size: int) -> np.ndarray:
    drift = 0.7 * noise(rng, size, 5) + 0.3 * noise(rng, size, 128)
    return mix(drift, colour(rng, 0.6, 0.14, 0.76), colour(rng, 0.58, 0.03, 0.97))


@background("leaves")
def leaves(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size, wobble=60)
    shade, joint = fields(x, y, rng.uniform(18, 30), rng.uniform(12, 20), rng, brick=True)
    hue = rng.choice([0.08, 0.12, 0.27])
    litter = mix(shade, colour(rng, hue, 0.75, 0.3), colour(rng, hue + 0.04, 0.7, 0.7))
    return litter * np.clip(0.5 + joint * 0.12, 0, 1)[..., None]


@background("fabric")
def fabric(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size, wobble=6)
    pitch, hue = rng.uniform(14, 34), rng.random()
    plaid = 0.35 * ((x // pitch) % 2) + 0.35 * ((y // pitch) % 2) + 0.3 * (((x + y) // 2) % 2)
    return mix(plaid, colour(rng, hue, 0.5, 0.4), colour(rng, hue + rng.uniform(0, 0.15), 0.35, 0.85))


@background("carpet")
def carpet(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size)
    pitch, hue = rng.uniform(20, 40), rng.random()
    row = (y // pitch) % 2
    dots = (((x + row * pitch / 2) % pitch - pitch / 2) ** 2 + (y % pitch - pitch / 2) ** 2) < (
        pitch * rng.uniform(0.12, 0.2)
    ) ** 2
    pile = mix(rng.random((size, size), np.float32) * 0.7, colour(rng, hue, 0.6, 0.35), colour(rng, hue, 0.5, 0.6))
    return np.where(dots[..., None], colour(rng, hue + 0.1, 0.4, 0.75), pile)


@background("paper")
def paper(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = axes(rng, size)
    pitch = rng.uniform(14, 30)
    lines = (y % pitch < 1.3) | ((x % pitch < 1.3) & (rng.random() < 0.5))
    sheet = mix(noise(rng, size, 5), colour(rng, 0.12, 0.06, 0.85), colour(rng, 0.13, 0.05, 0.97))
    return np.where(lines[..., None], colour(rng, 0.58, 0.3, 0.7), sheet)


def pattern(rng: np.random.Generator, height: int, width: int) -> np.ndarray | None:
    """What an object's paint is mixed with, (height,width) of 0..1, or None for plain paint."""
    style = rng.integers(0, 8)
    if style >= 5:
        return None
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    a = rng.uniform(0, np.pi)
    u, v = x * np.cos(a) + y * np.sin(a), -x * np.sin(a) + y * np.cos(a)
    pitch = rng.uniform(8, 20)
    if style == 0:
        return ((u % pitch) < pitch * 0.4).astype(np.float32)
    if style == 1:
        return (((u % pitch) - pitch / 2) ** 2 + ((v % pitch) - pitch / 2) ** 2 < (pitch * 0.3) ** 2).astype(np.float32)
    if style == 2:
        return np.broadcast_to((u - u.min()) / (np.ptp(u) + 1e-6), (height, width))
    if style == 3:
        return noise(rng, max(height, width), int(rng.integers(6, 30)))[:height, :width]
    return (((u // pitch) + (v // pitch)) % 2).astype(np.float32)
