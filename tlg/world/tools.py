"""Classes of the workshop."""

from __future__ import annotations

import numpy as np

from tlg.world.geometry import BODY, CUT, DETAIL, TRIM, Part, arc, blob, box, disc, oval, poly, radial, stroke, turned
from tlg.world.kinds import kind

BENCH = ("wood", "metal", "concrete")


@kind("gear", "teeth around the rim", BENCH, novel=True)
def gear(rng: np.random.Generator) -> list[Part]:
    teeth, root = int(rng.integers(7, 13)), rng.uniform(0.7, 0.8)
    return [
        *radial([root, 1, 1, root] * teeth),
        *disc(0, 0, root * 0.75, TRIM),
        *disc(0, 0, rng.uniform(0.2, 0.38), CUT),
    ]


@kind("wrench", "an open jaw", BENCH, novel=True)
def wrench(rng: np.random.Generator) -> list[Part]:
    gap = rng.uniform(0.13, 0.2)
    jaw = [*disc(0, -0.62, 0.38), *box(-gap, -1.05, gap, -0.55, CUT)]
    return [
        *box(-0.17, -0.4, 0.17, 0.7),
        *jaw,
        *disc(0, 0.7, 0.29),
        *disc(0, 0.7, 0.13, CUT),
        *box(-0.07, -0.1, 0.07, 0.35, TRIM),
    ]


@kind("hammer", "a heavy head", BENCH)
def hammer(rng: np.random.Generator) -> list[Part]:
    claw = poly([(-0.1, -0.9), (-0.75, -0.65), (-0.72, -0.5), (-0.1, -0.5)], TRIM)
    return [
        *box(-0.13, -0.6, 0.13, 1, BODY),
        *claw,
        *box(-0.15, -0.95, 0.35, -0.45, TRIM),
        *box(0.35, -1, 0.65, -0.4, TRIM),
    ]


@kind("screwdriver", "a ribbed handle", BENCH)
def screwdriver(rng: np.random.Generator) -> list[Part]:
    ribs = [part for x in (-0.12, 0.12) for part in box(x - 0.04, 0.25, x + 0.04, 0.85, DETAIL)]
    handle = blob([(-0.2, 0.1), (0.2, 0.1), (0.3, 0.5), (0.24, 0.95), (-0.24, 0.95), (-0.3, 0.5)])
    return [
        *box(-0.09, -0.85, 0.09, 0.2, TRIM),
        *poly([(-0.15, -1), (0.15, -1), (0.09, -0.75), (-0.09, -0.75)], TRIM),
        *handle,
        *ribs,
    ]


@kind("saw", "a toothed blade", BENCH)
def saw(rng: np.random.Generator) -> list[Part]:
    count = int(rng.integers(8, 12))
    x = np.linspace(0.4, -1, 2 * count + 1)
    y = 0.35 + 0.14 * (np.arange(2 * count + 1) % 2) - 0.12 * (0.4 - x)
    blade = [(-1, -0.05), (0.45, -0.35), *zip(x, y, strict=True)]
    grip = blob([(0.35, -0.45), (0.8, -0.5), (1, -0.2), (0.95, 0.45), (0.6, 0.6), (0.35, 0.4)], TRIM)
    return [*poly(blade), *grip, *oval(0.7, 0.02, 0.13, 0.25, CUT)]


@kind("hex nut", "six flat sides and a round hole", BENCH)
def hex_nut(rng: np.random.Generator) -> list[Part]:
    return [*radial([0.95] * 6), *disc(0, 0, 0.62, TRIM), *disc(0, 0, rng.uniform(0.38, 0.5), CUT)]


@kind("screw", "a slotted head and a thread", BENCH)
def screw(rng: np.random.Generator) -> list[Part]:
    count = int(rng.integers(4, 7))
    y = np.linspace(-0.45, 0.75, 2 * count)
    right = 0.2 + 0.12 * (np.arange(2 * count) % 2)
    shank = [*zip(right, y, strict=True), (0, 1), *zip(-right[::-1], y[::-1] + 0.05, strict=True)]
    head = poly([*arc(0, -0.5, 0.6, 0.45, 180, 360), (0.6, -0.4), (-0.6, -0.4)], TRIM)
    return [*poly(shank), *head, *box(-0.1, -1, 0.1, -0.7, CUT)]


@kind("shovel", "a broad blade", ("sand", "soil", "grass"))
def shovel(rng: np.random.Generator) -> list[Part]:
    blade = blob([(-0.4, 0.1), (0.4, 0.1), (0.42, 0.5), (0, 1.05), (-0.42, 0.5)])
    grip = [*stroke([(-0.25, -0.95), (0.25, -0.95)], 0.16, DETAIL), *stroke([(0, -0.9), (0, 0.2)], 0.17, TRIM)]
    return [*grip, *blade]


@kind("axe", "a curved edge", ("wood", "grass", "soil"))
def axe(rng: np.random.Generator) -> list[Part]:
    head = blob([(0.1, -0.85), (-0.55, -1), (-0.8, -0.5), (-0.55, 0.05), (0.1, -0.3)], TRIM)
    return [*stroke([(0.2, -0.85), (0.15, 0.2), (0.3, 0.9)], 0.22), *head, *box(0.1, -0.85, 0.4, -0.35, TRIM)]


@kind("paintbrush", "soft bristles", ("paper", "wood", "fabric"))
def paintbrush(rng: np.random.Generator) -> list[Part]:
    bristles = poly([(-0.36, -0.2), (-0.4, -0.75), (-0.2, -1), (0, -0.85), (0.2, -1), (0.4, -0.75), (0.36, -0.2)], TRIM)
    return [
        *bristles,
        *box(-0.38, -0.3, 0.38, 0, DETAIL),
        *blob([(-0.3, 0), (0.3, 0), (0.12, 0.45), (0.17, 0.95), (-0.17, 0.95), (-0.12, 0.45)]),
    ]


@kind("magnifying glass", "a round lens on a handle", ("paper", "wood", "fabric"))
def magnifying_glass(rng: np.random.Generator) -> list[Part]:
    glass = [*disc(-0.2, -0.25, 0.68), *disc(-0.2, -0.25, 0.5, DETAIL)]
    return [*stroke([(0.2, 0.2), (0.85, 0.9)], 0.26, TRIM), *glass]


@kind("padlock", "a steel shackle", BENCH, novel=True)
def padlock(rng: np.random.Generator) -> list[Part]:
    lift = rng.uniform(0, 0.15)
    bow = stroke([(-0.4, 0.1), *arc(0, -0.4 - lift, 0.4, 0.4, 180, 360, 14), (0.4, 0.1)], 0.2, TRIM)
    hole = [*disc(0, 0.35, 0.13, DETAIL), *box(-0.06, 0.4, 0.06, 0.68, DETAIL)]
    return [*bow, *box(-0.7, -0.1, 0.7, 0.95), *hole]


@kind("key", "a round bow and a notched bit", BENCH, novel=True)
def key(rng: np.random.Generator) -> list[Part]:
    bow = [*disc(0, -0.58, 0.42), *disc(0, -0.58, rng.uniform(0.16, 0.24), CUT)]
    bits = [
        part for y in rng.choice([0.35, 0.55, 0.78], 2, replace=False) for part in box(0.05, y, 0.42, y + 0.17, TRIM)
    ]
    return [*box(-0.12, -0.2, 0.12, 1), *bow, *bits]


@kind("scissors", "two blades and two loops", ("paper", "fabric", "wood"))
def scissors(rng: np.random.Generator) -> list[Part]:
    spread = rng.uniform(13, 24)
    half = [*poly([(-0.1, 0.2), (0.1, 0.2), (0.05, -1), (-0.03, -1)], TRIM), *stroke([(0, 0.1), (0.1, 0.45)], 0.18)]
    loop = [*oval(0.14, 0.68, 0.26, 0.33), *oval(0.14, 0.68, 0.13, 0.19, CUT)]
    arm = turned([*half, *loop], -spread, (0, 0.05))
    other = [Part(part.outline * (-1, 1), part.tone) for part in arm]
    return [*arm, *other, *disc(0, 0.05, 0.07, DETAIL)]


@kind("ladder", "parallel rungs", ("bricks", "wood", "concrete"), upright=True)
def ladder(rng: np.random.Generator) -> list[Part]:
    rungs = np.linspace(-0.8, 0.8, int(rng.integers(5, 7)))
    rails = [*stroke([(-0.42, -1), (-0.48, 1)], 0.16), *stroke([(0.42, -1), (0.48, 1)], 0.16)]
    return [*[part for y in rungs for part in box(-0.45, y - 0.07, 0.45, y + 0.07, TRIM)], *rails]


@kind("pencil", "a sharp tip and an eraser", ("paper", "wood", "fabric"))
def pencil(rng: np.random.Generator) -> list[Part]:
    tip = [
        *poly([(-0.2, -0.6), (0.2, -0.6), (0, -1.05)], TRIM),
        *poly([(-0.08, -0.87), (0.08, -0.87), (0, -1.05)], DETAIL),
    ]
    return [
        *box(-0.2, -0.62, 0.2, 0.7),
        *tip,
        *box(-0.2, 0.62, 0.2, 0.76, DETAIL),
        *poly(arc(0, 0.75, 0.2, 0.25, 0, 180), TRIM),
    ]


@kind("pliers", "gripping jaws", BENCH)
def pliers(rng: np.random.Generator) -> list[Part]:
    spread = rng.uniform(8, 16)
    half = [
        *blob([(-0.02, -0.1), (0.02, -1), (0.2, -0.9), (0.3, -0.4), (0.18, 0)], TRIM),
        *stroke([(0.02, 0), (0.22, 0.4), (0.2, 0.95)], 0.22),
    ]
    arm = turned(half, spread / 2)
    other = [Part(part.outline * (-1, 1), part.tone) for part in arm]
    return [*arm, *other, *disc(0, 0, 0.2, DETAIL)]


@kind("magnet", "two bright poles", ("metal", "paper", "wood"), hues=(0.0,))
def magnet(rng: np.random.Generator) -> list[Part]:
    outer, inner = arc(0, -0.15, 0.8, 0.8, 180, 360), arc(0, -0.15, 0.4, 0.4, 360, 180)
    poles = [*box(-0.8, 0.5, -0.4, 0.9, TRIM), *box(0.4, 0.5, 0.8, 0.9, TRIM)]
    return [*poly([(-0.8, 0.6), *outer, (0.8, 0.6), (0.4, 0.6), *inner, (-0.4, 0.6)]), *poles]
