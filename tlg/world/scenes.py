"""Scenes: several objects on a named, cluttered background, with their pixel-true label map and a caption.

A scene is a function of its random generator alone: the same seed gives the same pixels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tlg.world.captions import caption
from tlg.world.geometry import BODY, CUT, DETAIL, TRIM, rotation
from tlg.world.kinds import Kind
from tlg.world.textures import BACKGROUNDS, colour, noise, pattern
from tlg.world.vocabulary import CLASSES, index_of

SUPERSAMPLING = 2
# An object of which less is to be seen than this share is not part of a scene.
LEAST_VISIBLE = 0.45
CLASS_COUNT_ODDS = (0.45, 0.35, 0.2)


@dataclass(frozen=True)
class Scene:
    """`labels` holds 0 for background and 1 + the class index (in `CLASSES`) elsewhere."""

    image: np.ndarray  # uint8 (H,W,3)
    labels: np.ndarray  # uint8 (H,W)
    present: tuple[str, ...]  # class names, in the order in which they were painted
    background: str
    caption: str


@dataclass(frozen=True)
class Sprite:
    """A painted object before it is placed."""

    rgb: np.ndarray  # float32 (h,w,3)
    cover: np.ndarray  # float32 (h,w) of 0..1


def scene(
    rng: np.random.Generator, size: int = 256, classes: Sequence[str] = tuple(CLASSES), required: str | None = None
) -> Scene:
    """A scene of one to three of the given classes (one or two objects each).

    `required` is sure to be present, and is painted large enough to be seen. Empty `classes` give an empty scene.
    """
    wanted = choose_classes(rng, classes, required)
    setting = choose_background(rng, wanted)
    canvas = BACKGROUNDS[setting](rng, size).astype(np.float32)
    scatter_clutter(rng, canvas)
    labels = np.zeros((size, size), np.uint8)
    for name in wanted:
        copies = 2 if rng.random() < 0.2 else 1
        for _ in range(copies):
            place(rng, canvas, labels, index_of(name), crowd=len(wanted))
    if rng.random() < 0.12:
        lay_bar(rng, canvas, labels)
    image = develop(rng, canvas)
    present = tuple(name for name in wanted if (labels == index_of(name) + 1).any())
    return Scene(image, labels, present, setting, caption(rng, present, setting))


def choose_classes(rng: np.random.Generator, classes: Sequence[str], required: str | None) -> list[str]:
    count = min(1 + int(rng.choice(3, p=CLASS_COUNT_ODDS)), len(classes))
    others = [name for name in classes if name != required]
    if required is None:
        return [str(name) for name in rng.choice(others, count, replace=False)] if count else []
    # The required class comes last: nothing but the bar is painted over it.
    return [*(str(name) for name in rng.choice(others, min(count - 1, len(others)), replace=False)), required]


def choose_background(rng: np.random.Generator, wanted: Sequence[str]) -> str:
    """Mostly a usual setting of the last class, else any."""
    if wanted and rng.random() < 0.6:
        return str(rng.choice(CLASSES[wanted[-1]].contexts))
    return str(rng.choice(list(BACKGROUNDS)))


def place(rng: np.random.Generator, canvas: np.ndarray, labels: np.ndarray, index: int, crowd: int) -> None:
    """Paints one object where it hides little of the others; leaves the scene as it is if there is no such place."""
    size = len(labels)
    scale = size * rng.uniform(0.19, 0.36) * (1.0, 0.85, 0.72)[crowd - 1]
    sprite = paint(rng, list(CLASSES.values())[index], scale)
    height, width = sprite.cover.shape
    for _ in range(12):
        left = int(rng.integers(-width // 10, max(size - width + width // 10, 1)))
        top = int(rng.integers(-height // 10, max(size - height + height // 10, 1)))
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
        cover = sprite.cover[y0 - top : y1 - top, x0 - left : x1 - left]
        solid = cover >= 0.5
        under = labels[y0:y1, x0:x1]
        if solid.sum() < 0.8 * (sprite.cover >= 0.5).sum() or hides_too_much(labels, under, solid):
            continue
        shade(rng, canvas[y0:y1, x0:x1], cover)
        target = canvas[y0:y1, x0:x1]
        target += cover[..., None] * (sprite.rgb[y0 - top : y1 - top, x0 - left : x1 - left] - target)
        under[solid] = index + 1
        return


def hides_too_much(labels: np.ndarray, under: np.ndarray, solid: np.ndarray) -> bool:
    hidden = np.bincount(under[solid], minlength=256)[1:]
    if not hidden.any():
        return False
    painted = np.bincount(labels.ravel(), minlength=256)[1:]
    return bool((hidden > (1 - LEAST_VISIBLE) * 0.5 * painted)[hidden > 0].any())


def paint(rng: np.random.Generator, kind: Kind, scale: float) -> Sprite:
    """Draws the class with its own turn, proportions, paints and light; `scale` is half its side in pixels."""
    turn = rng.normal(0, 10) if kind.upright else rng.uniform(-180, 180)
    mirror = -1 if rng.random() < 0.3 and not kind.name.startswith(("letter", "digit", "question")) else 1
    stretch = np.array(
        [[mirror * rng.uniform(0.82, 1.12), rng.normal(0, 0.08)], [0, rng.uniform(0.82, 1.12)]], np.float32
    )
    transform = rotation(turn) @ stretch * scale * SUPERSAMPLING
    outlines = [(part.outline @ transform.T, part.tone) for part in kind.draw(rng)]
    low = np.min([outline.min(0) for outline, _ in outlines], 0) - SUPERSAMPLING
    high = np.max([outline.max(0) for outline, _ in outlines], 0) + SUPERSAMPLING
    width, height = (np.ceil((high - low) / SUPERSAMPLING).astype(int) * SUPERSAMPLING).tolist()
    drawing = Image.new("L", (width, height), CUT)
    draw = ImageDraw.Draw(drawing)
    for outline, tone in outlines:
        draw.polygon([tuple(point) for point in (outline - low).tolist()], fill=tone)
    tones = np.asarray(drawing)
    paints = choose_paints(rng, kind)
    small = (width // SUPERSAMPLING, height // SUPERSAMPLING)
    cover = shrink((tones != CUT).astype(np.float32), small)
    shares = [shrink((tones == tone).astype(np.float32), small) for tone in (BODY, TRIM, DETAIL)]
    rgb = sum(share[..., None] * paints[k] for k, share in enumerate(shares)) / np.maximum(cover, 1e-3)[..., None]
    return Sprite(light(rng, decorate(rng, rgb, shares[0], paints[3])), cover)


def shrink(full: np.ndarray, small: tuple[int, int]) -> np.ndarray:
    width, height = small
    return full.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).mean((1, 3))


def choose_paints(rng: np.random.Generator, kind: Kind) -> list[np.ndarray]:
    """Body, trim, detail and pattern colours: the class's usual hue more often than not, else any."""
    hue = float(rng.choice(kind.hues)) if kind.hues and rng.random() < 0.6 else rng.random()
    grey = rng.random() < 0.15
    body = colour(rng, hue, 0.1 if grey else rng.uniform(0.45, 0.95), rng.uniform(0.35, 0.95))
    trim = colour(
        rng,
        hue + rng.choice([0.0, 0.08, 0.5, rng.random()]),
        rng.uniform(0.1, 0.8),
        (body.max() + rng.uniform(0.3, 0.7)) % 1,
    )
    detail = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.5), rng.choice([0.12, 0.92])), np.float32)
    return [body, trim, detail, np.clip(body * rng.uniform(0.6, 1.45), 0, 1)]


def decorate(rng: np.random.Generator, rgb: np.ndarray, body_share: np.ndarray, second: np.ndarray) -> np.ndarray:
    drawn = pattern(rng, *rgb.shape[:2])
    if drawn is None:
        return rgb
    return rgb + (drawn * body_share * rng.uniform(0.4, 0.9))[..., None] * (second - rgb)


def light(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    """Brighter towards the light, darker away from it."""
    height, width = rgb.shape[:2]
    a, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.45)
    x = np.linspace(-0.7, 0.7, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.7, 0.7, height, dtype=np.float32)[:, None]
    return rgb * (1 + strength * (x * np.cos(a) + y * np.sin(a)))[..., None]


def shade(rng: np.random.Generator, ground: np.ndarray, cover: np.ndarray) -> None:
    """A soft shadow of the object on what lies below it, a few pixels aside."""
    if rng.random() < 0.35:
        return
    dx, dy = int(rng.integers(-6, 7)), int(rng.integers(1, 7))
    shadow = np.roll(cover, (dy, dx), (0, 1))
    shadow[:dy] = 0
    if dx > 0:
        shadow[:, :dx] = 0
    elif dx < 0:
        shadow[:, dx:] = 0
    ground *= 1 - rng.uniform(0.2, 0.5) * shadow[..., None]


def scatter_clutter(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Pebbles, twigs and stains that belong to no class."""
    size = len(canvas)
    for _ in range(int(rng.integers(0, 9))):
        w, h = rng.integers(4, 13, 2) if rng.random() < 0.6 else (int(rng.integers(20, 50)), int(rng.integers(2, 5)))
        patch = Image.new("L", (56, 56), 0)
        ImageDraw.Draw(patch).ellipse((28 - w // 2, 28 - h // 2, 28 + w // 2, 28 + h // 2), fill=255)
        cover = np.asarray(patch.rotate(rng.uniform(0, 180), Image.Resampling.BILINEAR), np.float32)[..., None] / 255
        x, y = rng.integers(0, size - 56, 2)
        target = canvas[y : y + 56, x : x + 56]
        target += cover * rng.uniform(0.5, 1) * (colour(rng, rng.random(), 0.4, rng.uniform(0.1, 0.9)) - target)


def lay_bar(rng: np.random.Generator, canvas: np.ndarray, labels: np.ndarray) -> None:
    """A pole across the picture that hides a strip of everything."""
    size = len(labels)
    start, width = int(rng.integers(size // 6, size - size // 6)), int(rng.integers(size // 40, size // 18))
    strip = (
        (slice(None), slice(start, start + width)) if rng.random() < 0.7 else (slice(start, start + width), slice(None))
    )
    canvas[strip] = colour(rng, rng.random(), 0.3, rng.uniform(0.2, 0.8)) * rng.uniform(0.9, 1.1)
    labels[strip] = 0


def develop(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """From light to pixels: uneven lighting, colour cast, blur and sensor noise."""
    size = len(canvas)
    if rng.random() < 0.6:
        canvas = canvas * (1 + rng.uniform(0.1, 0.5) * (noise(rng, size, 2) - 0.5))[..., None]
    cast = 1 + rng.normal(0, 0.05, 3).astype(np.float32)
    exposure = np.float32(rng.uniform(0.75, 1.2))
    pixels = np.clip(canvas * (cast * exposure * 255), 0, 255)
    if rng.random() < 0.7:
        grain = rng.integers(-128, 128, (size, size), np.int8).astype(np.float32)
        pixels += (grain * (rng.uniform(1, 14) / 74))[..., None]
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 1.4)))
    return np.asarray(image)
