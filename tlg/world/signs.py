"""Classes of letters, symbols and small emblems."""

from __future__ import annotations

import numpy as np

from tlg.world.geometry import CUT, DETAIL, TRIM, Part, arc, blob, box, disc, mirrored, oval, poly, radial, stroke
from tlg.world.kinds import kind

WALL = ("bricks", "paper", "concrete")
CLOTH = ("fabric", "paper", "carpet")


@kind("star", "five points", ("sky", "paper", "fabric"), hues=(0.14,), upright=False)
def star(rng: np.random.Generator) -> list[Part]:
    inner = rng.uniform(0.4, 0.5)
    return [*radial([1, inner] * 5), *radial([0.55, inner * 0.55] * 5, tone=TRIM)]


@kind("crescent", "two sharp horns", ("sky", "paper", "fabric"), hues=(0.14,))
def crescent(rng: np.random.Generator) -> list[Part]:
    return [*disc(0, 0, 0.95), *disc(rng.uniform(0.35, 0.5), 0, 0.78, CUT)]


@kind("heart", "two round lobes", CLOTH, hues=(0.0, 0.93), upright=True, novel=True)
def heart(rng: np.random.Generator) -> list[Part]:
    half = [(0.0, -0.45), (0.25, -0.8), (0.65, -0.85), (0.95, -0.45), (0.85, 0.1), (0.45, 0.55), (0, 0.95)]
    return [*poly(mirrored(half)), *blob([(-0.62, -0.6), (-0.4, -0.65), (-0.55, -0.3), (-0.72, -0.3)], TRIM)]


@kind("arrow", "a triangular head on a shaft", WALL, novel=True)
def arrow(rng: np.random.Generator) -> list[Part]:
    neck, shaft = rng.uniform(-0.15, 0.05), rng.uniform(0.2, 0.28)
    return [
        *box(-shaft, neck - 0.05, shaft, 1),
        *poly([(0, -1), (0.78, neck), (-0.78, neck)]),
        *box(-shaft, 0.75, shaft, 1, TRIM),
    ]


@kind("cross", "four equal arms", WALL, hues=(0.0,))
def cross(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.26, 0.36)
    return [*box(-w, -0.95, w, 0.95), *box(-0.95, -w, 0.95, w)]


@kind("letter A", "a crossbar between two slants", WALL, upright=True)
def letter_a(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.22, 0.34)
    return [
        *poly([(-0.9, 1), (-0.2, -1), (0.2, -1), (0.9, 1), (0.9 - 1.2 * w, 1), (0, -0.55), (-0.9 + 1.2 * w, 1)]),
        *box(-0.5, 0.25, 0.5, 0.25 + w),
    ]


@kind("letter E", "three bars on a stem", WALL, upright=True)
def letter_e(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.3, 0.38)
    return [
        *box(-0.65, -1, -0.65 + w, 1),
        *box(-0.65, -1, 0.7, -1 + w),
        *box(-0.65, -w / 2, 0.55, w / 2),
        *box(-0.65, 1 - w, 0.7, 1),
    ]


@kind("letter K", "two diagonals on a stem", WALL, upright=True, novel=True)
def letter_k(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.3, 0.4)
    upper = poly([(-0.35, 0.1), (0.35, -1), (0.35 + w * 1.15, -1), (-0.35, 0.55)])
    lower = poly([(-0.15, -0.05), (0.1, -0.25), (0.85, 1), (0.85 - w * 1.2, 1)])
    return [*box(-0.75, -1, -0.75 + w, 1), *upper, *lower]


@kind("letter S", "a double bend", WALL, upright=True)
def letter_s(rng: np.random.Generator) -> list[Part]:
    return stroke(
        [*arc(0, -0.42, 0.5, 0.4, -25, -270, 14), *arc(0, 0.42, 0.5, 0.42, -90, 155, 14)], rng.uniform(0.3, 0.36)
    )


@kind("letter T", "a bar across a stem", WALL, upright=True)
def letter_t(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.3, 0.4)
    return [*box(-0.85, -1, 0.85, -1 + w), *box(-w / 2, -1, w / 2, 1)]


@kind("digit 4", "an open triangle on a stem", WALL, upright=True)
def digit_4(rng: np.random.Generator) -> list[Part]:
    return [
        *poly(
            [
                (0.15, -1),
                (0.45, -1),
                (0.45, 1),
                (0.12, 1),
                (0.12, -0.5),
                (-0.45, 0.2),
                (0.75, 0.2),
                (0.75, 0.5),
                (-0.8, 0.5),
                (-0.8, 0.25),
            ]
        )
    ]


@kind("question mark", "a hook above a dot", WALL, upright=True)
def question_mark(rng: np.random.Generator) -> list[Part]:
    return [*stroke([*arc(0, -0.5, 0.42, 0.4, 170, 410, 16), (0, 0.1), (0, 0.35)], 0.28), *disc(0, 0.8, 0.19)]


@kind("lightning bolt", "a jagged edge", ("sky", "metal", "concrete"), hues=(0.14,), upright=True)
def lightning_bolt(rng: np.random.Generator) -> list[Part]:
    return poly([(0.25, -1), (-0.65, 0.15), (-0.1, 0.15), (-0.35, 1), (0.65, -0.3), (0.1, -0.3), (0.6, -1)])


@kind("speech bubble", "a pointed tail", WALL, upright=True)
def speech_bubble(rng: np.random.Generator) -> list[Part]:
    dots = [p for x in (-0.42, 0, 0.42) for p in disc(x, -0.2, 0.12, DETAIL)]
    return [*poly([(-0.5, 0.2), (-0.05, 0.3), (-0.65, 0.95)]), *oval(0, -0.2, 0.97, 0.65), *dots]


@kind("crown", "five spikes and jewels", CLOTH, hues=(0.13,), upright=True, novel=True)
def crown(rng: np.random.Generator) -> list[Part]:
    low = rng.uniform(-0.15, 0.1)
    rim = poly([(-0.85, 0.8), (-0.98, -0.55), (-0.5, low), (0, -0.8), (0.5, low), (0.98, -0.55), (0.85, 0.8)])
    jewels = [*disc(-0.98, -0.58, 0.12, TRIM), *disc(0, -0.82, 0.13, TRIM), *disc(0.98, -0.58, 0.12, TRIM)]
    return [*rim, *jewels, *box(-0.86, 0.5, 0.86, 0.8, TRIM), *disc(0, 0.2, 0.13, DETAIL)]


@kind("music note", "a flag on the stem", ("paper", "fabric", "wood"), upright=True)
def music_note(rng: np.random.Generator) -> list[Part]:
    heads = [*oval(-0.5, 0.68, 0.34, 0.26, turn=-20), *oval(0.52, 0.5, 0.34, 0.26, turn=-20)]
    return [
        *heads,
        *box(-0.33, -0.75, -0.17, 0.68),
        *box(0.7, -0.95, 0.86, 0.5),
        *poly([(-0.33, -0.75), (0.86, -1), (0.86, -0.62), (-0.33, -0.38)], TRIM),
    ]


@kind("spade", "an inverted heart on a stalk", ("paper", "fabric", "carpet"), upright=True)
def spade(rng: np.random.Generator) -> list[Part]:
    leaf = blob(mirrored([(0, -1.05), (0.3, -0.55), (0.82, 0.05), (0.65, 0.5), (0.15, 0.35)]))
    return [*poly([(0, 0.1), (0.32, 1), (-0.32, 1)]), *leaf]


@kind("hourglass", "two bulbs and falling sand", ("wood", "paper", "sand"), upright=True)
def hourglass(rng: np.random.Generator) -> list[Part]:
    glass = poly([(-0.55, -0.8), (0.55, -0.8), (0.1, 0), (0.55, 0.8), (-0.55, 0.8), (-0.1, 0)])
    sand = [
        *poly([(-0.3, 0.78), (0.3, 0.78), (0, 0.4)], DETAIL),
        *poly([(-0.33, -0.5), (0.33, -0.5), (0, -0.05)], DETAIL),
    ]
    return [*glass, *sand, *box(-0.7, -1, 0.7, -0.78, TRIM), *box(-0.7, 0.78, 0.7, 1, TRIM)]


@kind("puzzle piece", "a knob and a notch", ("wood", "carpet", "fabric"))
def puzzle_piece(rng: np.random.Generator) -> list[Part]:
    r = rng.uniform(0.2, 0.26)
    knobs = [*disc(0.02, -0.68, r), *disc(0.78, 0.2, r)]
    return [*box(-0.6, -0.5, 0.6, 0.85), *knobs, *disc(-0.45, 0.2, r * 0.9, CUT), *disc(0, 0.68, r * 0.9, CUT)]


@kind("cloud", "a bumpy top and a flat base", ("sky", "water", "paper"), hues=(0.58,), upright=True)
def cloud(rng: np.random.Generator) -> list[Part]:
    puffs = [
        p
        for x, y, r in ((-0.55, 0.1, 0.4), (-0.1, -0.2, 0.48), (0.42, -0.02, 0.42), (0.7, 0.25, 0.3))
        for p in disc(x, y, r * rng.uniform(0.92, 1.05))
    ]
    return [*puffs, *box(-0.65, 0.1, 0.75, 0.52)]


@kind("water drop", "a pointed top", ("leaves", "metal", "tiles"), hues=(0.56,), upright=True)
def water_drop(rng: np.random.Generator) -> list[Part]:
    drop = poly([(0, -1), *arc(0, 0.35, 0.62, 0.62, -25, 205, 24)])
    return [*drop, *oval(-0.25, 0.4, 0.1, 0.22, TRIM, 20)]


@kind("trophy", "two handles and a base", ("wood", "fabric", "paper"), hues=(0.13,), upright=True)
def trophy(rng: np.random.Generator) -> list[Part]:
    handles = [p for s in (-1, 1) for p in [*disc(s * 0.58, -0.5, 0.34, TRIM), *disc(s * 0.58, -0.5, 0.19, CUT)]]
    cup = poly([(-0.58, -0.95), (0.58, -0.95), (0.5, -0.35), (0.12, 0.15), (-0.12, 0.15), (-0.5, -0.35)])
    return [*handles, *cup, *box(-0.11, 0.1, 0.11, 0.6), *box(-0.5, 0.6, 0.5, 0.95, DETAIL)]


@kind("pawn", "a ball head on a flared base", ("wood", "carpet", "fabric"), upright=True)
def pawn(rng: np.random.Generator) -> list[Part]:
    return [
        *poly([(-0.18, -0.3), (0.18, -0.3), (0.42, 0.7), (-0.42, 0.7)]),
        *disc(0, -0.6, rng.uniform(0.34, 0.4)),
        *oval(0, -0.22, 0.36, 0.09, TRIM),
        *box(-0.6, 0.66, 0.6, 0.95, TRIM),
    ]
