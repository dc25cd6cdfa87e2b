"""Classes of plants and animals."""

from __future__ import annotations

import numpy as np

from tlg.world.geometry import (
    BODY,
    CUT,
    DETAIL,
    TRIM,
    Part,
    arc,
    blob,
    box,
    disc,
    flipped,
    mirrored,
    oval,
    poly,
    spokes,
    stroke,
    turned,
)
from tlg.world.kinds import kind

GARDEN = ("grass", "soil", "leaves")
ORCHARD = ("wood", "fabric", "grass")
GREEN, RED, YELLOW, ORANGE, BROWN, BLUE = 0.3, 0.0, 0.15, 0.07, 0.06, 0.58


@kind("leaf", "a midrib and a pointed tip", GARDEN, hues=(GREEN, 0.24, ORANGE), novel=True)
def leaf(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.45, 0.6)
    blade = poly([*arc(-1.1 + w, -0.1, 1.1, 1, -52, 52, 12), *arc(1.1 - w, -0.1, 1.1, 1, 128, 232, 12)])
    veins = [
        p
        for y in (-0.45, -0.1, 0.25)
        for s in (-1, 1)
        for p in stroke([(0, y + 0.15), (s * w * 0.55, y - 0.1)], 0.06, TRIM)
    ]
    return [*stroke([(0, 0.5), (0.05, 1)], 0.12, TRIM), *blade, *stroke([(0, -0.7), (0, 0.8)], 0.08, TRIM), *veins]


@kind("tree", "a round crown on a trunk", GARDEN, hues=(GREEN, 0.24), upright=True)
def tree(rng: np.random.Generator) -> list[Part]:
    puffs = [
        p
        for x, y in ((-0.45, -0.2), (0.45, -0.2), (-0.25, -0.55), (0.25, -0.55), (0, -0.15))
        for p in disc(x, y, rng.uniform(0.38, 0.46))
    ]
    return [*poly([(-0.15, 0), (0.15, 0), (0.22, 1), (-0.22, 1)], TRIM), *puffs]


@kind("pine tree", "three tiers of branches", ("snow", "grass", "leaves"), hues=(0.38,), upright=True)
def pine_tree(rng: np.random.Generator) -> list[Part]:
    tiers = [p for y, w in ((0.7, 0.75), (0.2, 0.6), (-0.3, 0.45)) for p in poly([(0, y - 0.75), (w, y), (-w, y)])]
    return [*box(-0.14, 0.6, 0.14, 1, TRIM), *tiers]


@kind("cactus", "two raised arms", ("sand", "soil", "gravel"), hues=(0.33,), upright=True, novel=True)
def cactus(rng: np.random.Generator) -> list[Part]:
    left, right = rng.uniform(-0.15, 0.2, 2)
    arms = [
        *stroke([(0, left + 0.2), (-0.6, left + 0.2), (-0.6, left - 0.35)], 0.28),
        *stroke([(0, right + 0.2), (0.6, right + 0.2), (0.6, right - 0.4)], 0.28),
    ]
    spines = [p for x in (-0.1, 0.1) for y in (-0.6, -0.2, 0.3, 0.7) for p in disc(x, y, 0.045, DETAIL)]
    return [*arms, *stroke([(0, -0.72), (0, 0.95)], 0.48), *spines]


@kind("mushroom", "a spotted cap", ("leaves", "grass", "soil"), hues=(RED, BROWN), upright=True)
def mushroom(rng: np.random.Generator) -> list[Part]:
    cap = poly([*arc(0, 0.05, 0.92, 0.95, 180, 360), (0.75, 0.2), (-0.75, 0.2)])
    spots = [*disc(-0.4, -0.3, 0.14, TRIM), *disc(0.1, -0.55, 0.17, TRIM), *disc(0.5, -0.15, 0.12, TRIM)]
    return [*blob([(-0.24, 0.1), (0.24, 0.1), (0.34, 0.9), (0, 1), (-0.34, 0.9)], TRIM), *cap, *spots]


@kind("flower", "round petals about a heart", GARDEN)
def flower(rng: np.random.Generator) -> list[Part]:
    count = int(rng.integers(5, 8))
    return [*spokes(oval(0, -0.62, 1.7 / count, 0.4), count), *disc(0, 0, 0.32, DETAIL)]


@kind("tulip", "a cup of petals on a stem", GARDEN, hues=(RED, YELLOW, 0.9), upright=True)
def tulip(rng: np.random.Generator) -> list[Part]:
    cup = poly([(-0.42, -0.9), (-0.2, -0.6), (0, -1), (0.2, -0.6), (0.42, -0.9), *arc(0, -0.4, 0.45, 0.45, 0, 180, 12)])
    leaves = [*oval(-0.3, 0.5, 0.13, 0.45, DETAIL, -28), *oval(0.3, 0.5, 0.13, 0.45, DETAIL, 28)]
    return [*stroke([(0, 0), (0, 0.95)], 0.15, DETAIL), *leaves, *cup]


@kind("apple", "a short stalk and a dimple", ORCHARD, hues=(RED, GREEN), upright=True)
def apple(rng: np.random.Generator) -> list[Part]:
    half = [(0.1, -0.5), (0.45, -0.62), (0.8, -0.2), (0.65, 0.5), (0.3, 0.88), (0.05, 0.8)]
    return [
        *stroke([(0, -0.45), (0.1, -0.95)], 0.11, TRIM),
        *blob(mirrored(half)),
        *oval(0.35, -0.8, 0.25, 0.1, DETAIL, -20),
    ]


@kind("pear", "a slim top and a wide base", ORCHARD, hues=(0.2, GREEN), upright=True)
def pear(rng: np.random.Generator) -> list[Part]:
    return [
        *stroke([(0, -0.7), (0.08, -1)], 0.1, TRIM),
        *blob(mirrored([(0.14, -0.78), (0.3, -0.35), (0.62, 0.3), (0.45, 0.85), (0.1, 0.95)])),
    ]


@kind("banana", "a long curve", ORCHARD, hues=(YELLOW,))
def banana(rng: np.random.Generator) -> list[Part]:
    depth = rng.uniform(0.3, 0.45)
    curve = poly([*arc(0, -0.4, 0.95, 1.05, 165, 15, 20), *arc(0, -0.45, 0.9, 1.05 - depth * 1.2, 15, 165, 20)])
    return [*curve, *box(-1, -0.35, -0.8, -0.08, TRIM), *box(0.84, -0.3, 0.98, -0.1, TRIM)]


@kind("cherry", "two balls on forked stalks", ORCHARD, hues=(RED, 0.95), upright=True)
def cherry(rng: np.random.Generator) -> list[Part]:
    stalks = [
        *stroke([(-0.45, 0.4), (-0.15, -0.3), (0.2, -0.85)], 0.11, TRIM),
        *stroke([(0.5, 0.5), (0.4, -0.2), (0.2, -0.85)], 0.11, TRIM),
    ]
    return [*stalks, *disc(-0.48, 0.5, 0.4), *disc(0.5, 0.58, 0.4), *oval(0.5, -0.85, 0.32, 0.13, DETAIL, 12)]


@kind("carrot", "feathery greens", ORCHARD, hues=(ORANGE,))
def carrot(rng: np.random.Generator) -> list[Part]:
    greens = [p for a in (-28, 0, 28) for p in turned(oval(0, -0.7, 0.11, 0.36, DETAIL), a, (0, -0.35))]
    rings = [*box(-0.3, -0.1, 0.02, -0.04, TRIM), *box(-0.05, 0.2, 0.22, 0.26, TRIM)]
    return [*greens, *blob([(-0.36, -0.35), (0, -0.45), (0.36, -0.35), (0.2, 0.4), (0, 1.02), (-0.2, 0.4)]), *rings]


@kind("fish", "a forked tail", ("water", "sand", "gravel"))
def fish(rng: np.random.Generator) -> list[Part]:
    deep = rng.uniform(0.36, 0.5)
    tail = poly([(0.45, 0), (1, -0.48), (0.85, 0), (1, 0.48)], TRIM)
    fins = [
        *poly([(-0.2, -deep + 0.05), (0.15, -deep - 0.28), (0.3, -deep + 0.15)], TRIM),
        *poly([(-0.1, deep - 0.1), (0.2, deep + 0.2), (0.25, deep - 0.15)], TRIM),
    ]
    return [
        *tail,
        *fins,
        *oval(-0.15, 0, 0.78, deep),
        *disc(-0.62, -0.08, 0.09, DETAIL),
        *stroke(arc(-0.65, 0, 0.35, 0.35, -35, 35, 6), 0.06, TRIM),
    ]


@kind("bird", "a beak and a raised wing", ("sky", "leaves", "snow"), upright=True)
def bird(rng: np.random.Generator) -> list[Part]:
    wing = blob([(-0.2, 0), (0.05, -0.6), (0.6, -0.85), (0.5, -0.2), (0.25, 0.2)], TRIM)
    legs = [*stroke([(-0.1, 0.5), (-0.15, 0.95)], 0.09, DETAIL), *stroke([(0.15, 0.5), (0.15, 0.95)], 0.09, DETAIL)]
    return [
        *legs,
        *poly([(0.4, 0.1), (1, -0.05), (0.95, 0.3), (0.4, 0.4)]),
        *oval(0.05, 0.2, 0.6, 0.4),
        *disc(-0.52, -0.22, 0.3),
        *poly([(-0.75, -0.35), (-1.02, -0.18), (-0.75, -0.08)], DETAIL),
        *wing,
    ]


@kind("cat", "pointed ears and whiskers", ("carpet", "grass", "wood"), upright=True)
def cat(rng: np.random.Generator) -> list[Part]:
    ears = [*poly([(-0.75, -0.2), (-0.7, -1), (-0.12, -0.55)]), *poly([(0.75, -0.2), (0.7, -1), (0.12, -0.55)])]
    eyes = [*oval(-0.32, 0, 0.13, 0.17, DETAIL), *oval(0.32, 0, 0.13, 0.17, DETAIL)]
    return [
        *ears,
        *oval(0, 0.15, 0.82, 0.72),
        *eyes,
        *poly([(-0.12, 0.28), (0.12, 0.28), (0, 0.42)], TRIM),
        *oval(0, 0.62, 0.28, 0.1, TRIM),
    ]


@kind("rabbit", "two long ears", ("grass", "snow", "leaves"), upright=True, novel=True)
def rabbit(rng: np.random.Generator) -> list[Part]:
    lean = rng.uniform(8, 20)
    ear = [*oval(0.22, -0.55, 0.17, 0.5), *oval(0.22, -0.55, 0.08, 0.36, TRIM)]
    turned_ear = turned(ear, lean, (0.2, 0))
    eyes = [*disc(-0.22, 0.28, 0.09, DETAIL), *disc(0.22, 0.28, 0.09, DETAIL)]
    return [
        *turned_ear,
        *flipped(turned_ear),
        *oval(0, 0.42, 0.56, 0.54),
        *eyes,
        *disc(0, 0.48, 0.08, TRIM),
        *box(-0.09, 0.66, 0.09, 0.82, TRIM),
    ]


@kind("snail", "a coiled shell", ("leaves", "soil", "grass"), upright=True)
def snail(rng: np.random.Generator) -> list[Part]:
    horns = [*stroke([(-0.7, 0.3), (-0.85, -0.3)], 0.1), *stroke([(-0.65, 0.3), (-0.55, -0.25)], 0.1)]
    foot = blob([(-0.9, 0.2), (-0.5, 0.2), (-0.3, 0.55), (0.95, 0.8), (0.9, 0.92), (-0.6, 0.92), (-0.92, 0.6)])
    return [*horns, *foot, *disc(0.2, 0.1, 0.62, TRIM), *disc(0.2, 0.12, 0.42, DETAIL), *disc(0.22, 0.14, 0.22, TRIM)]


@kind("butterfly", "two pairs of spotted wings", ("leaves", "grass", "sky"), novel=True)
def butterfly(rng: np.random.Generator) -> list[Part]:
    lean = rng.uniform(-8, 8)
    wing = [
        *oval(0.52, -0.42, 0.36, 0.52, BODY, 35 + lean),
        *oval(0.42, 0.42, 0.3, 0.42, BODY, -25 - lean),
        *disc(0.58, -0.48, 0.15, TRIM),
        *disc(0.45, 0.45, 0.12, TRIM),
    ]
    feelers = [*stroke([(0, -0.5), (0.22, -0.95)], 0.06, DETAIL), *stroke([(0, -0.5), (-0.22, -0.95)], 0.06, DETAIL)]
    return [*wing, *flipped(wing), *oval(0, 0, 0.1, 0.6, DETAIL), *feelers]


@kind("turtle", "a domed shell", ("sand", "grass", "water"), hues=(GREEN,), upright=True)
def turtle(rng: np.random.Generator) -> list[Part]:
    legs = [*oval(-0.45, 0.58, 0.16, 0.28, TRIM), *oval(0.4, 0.58, 0.16, 0.28, TRIM)]
    shell = poly([*arc(0, 0.4, 0.75, 0.85, 180, 360), (0.75, 0.5), (-0.75, 0.5)])
    plates = [*poly([(-0.15, -0.2), (0.15, -0.2), (0.25, 0.1), (0, 0.3), (-0.25, 0.1)], DETAIL)]
    return [
        *legs,
        *poly([(0.65, 0.35), (1, 0.5), (0.65, 0.5)], TRIM),
        *oval(-0.85, 0.22, 0.24, 0.19, TRIM),
        *shell,
        *plates,
    ]


@kind("duck", "a flat bill", ("water", "grass", "sky"), hues=(YELLOW,), upright=True, novel=True)
def duck(rng: np.random.Generator) -> list[Part]:
    body = blob(
        [(-0.5, 0.1), (-0.1, 0.15), (0.4, 0.2), (1, -0.15), (0.85, 0.6), (0.3, 0.88), (-0.35, 0.82), (-0.62, 0.5)]
    )
    bill = blob([(-0.75, -0.52), (-1.05, -0.42), (-1.02, -0.28), (-0.72, -0.25)], TRIM)
    return [
        *body,
        *stroke([(-0.4, -0.35), (-0.35, 0.3)], 0.38),
        *bill,
        *disc(-0.45, -0.45, 0.38),
        *disc(-0.55, -0.52, 0.08, DETAIL),
        *oval(0.2, 0.45, 0.38, 0.19, TRIM, -12),
    ]


@kind("spider", "eight bent legs", ("soil", "wood", "leaves"))
def spider(rng: np.random.Generator) -> list[Part]:
    legs = [p for a in (-50, -18, 15, 48) for p in turned(stroke([(0, 0), (0.6, -0.2), (1, 0.1)], 0.11), a)]
    return [
        *legs,
        *flipped(legs),
        *oval(0, 0.3, 0.4, 0.5),
        *disc(0, -0.25, 0.28, TRIM),
        *oval(0, 0.35, 0.16, 0.22, DETAIL),
    ]


@kind("crab", "two raised claws", ("sand", "water", "gravel"), hues=(RED, ORANGE), upright=True)
def crab(rng: np.random.Generator) -> list[Part]:
    claw = [
        *stroke([(0.5, 0.1), (0.8, -0.2)], 0.16),
        *disc(0.75, -0.5, 0.26),
        *poly([(0.75, -0.5), (0.62, -0.85), (0.9, -0.85)], CUT),
    ]
    legs = [
        p for y in (0.35, 0.55, 0.72) for p in stroke([(0.4, y - 0.1), (0.8, y - 0.08), (0.92, y + 0.2)], 0.1, TRIM)
    ]
    return [
        *legs,
        *flipped(legs),
        *claw,
        *flipped(claw),
        *oval(0, 0.3, 0.62, 0.42),
        *disc(-0.2, 0.12, 0.09, DETAIL),
        *disc(0.2, 0.12, 0.09, DETAIL),
    ]


@kind("snake", "a winding body", ("sand", "leaves", "soil"), hues=(GREEN, BROWN))
def snake(rng: np.random.Generator) -> list[Part]:
    y = np.linspace(-0.75, 0.9, 22)
    x = 0.45 * np.sin(3.6 * (y + 0.75) + rng.uniform(-0.4, 0.4))
    bands = [p for k in (4, 9, 14, 18) for p in disc(x[k], y[k], 0.12, TRIM)]
    return [
        *stroke(list(zip(x, y, strict=True)), 0.28),
        *bands,
        *oval(x[0], -0.82, 0.22, 0.18),
        *disc(x[0] + 0.08, -0.86, 0.05, DETAIL),
    ]


@kind("octopus", "curling tentacles", ("water", "sand", "gravel"), hues=(0.85, RED), upright=True, novel=True)
def octopus(rng: np.random.Generator) -> list[Part]:
    curl = rng.uniform(0.1, 0.2)
    arms = [
        p for x in (-0.75, -0.38, 0, 0.38, 0.75) for p in stroke([(x * 0.5, 0.1), (x, 0.55), (x + curl, 0.92)], 0.21)
    ]
    eyes = [*disc(-0.2, -0.2, 0.13, DETAIL), *disc(0.2, -0.2, 0.13, DETAIL)]
    return [*arms, *oval(0, -0.35, 0.58, 0.62), *eyes]


@kind("whale", "a broad tail fluke", ("water", "sky", "snow"), hues=(BLUE,), upright=True)
def whale(rng: np.random.Generator) -> list[Part]:
    body = blob(
        [
            (-0.95, 0.1),
            (-0.7, -0.4),
            (-0.1, -0.45),
            (0.45, 0.05),
            (0.8, -0.2),
            (0.85, 0.05),
            (0.4, 0.6),
            (-0.4, 0.72),
            (-0.9, 0.5),
        ]
    )
    fluke = poly([(0.75, -0.05), (0.5, -0.6), (0.82, -0.42), (1.05, -0.7), (0.95, -0.1)])
    belly = blob([(-0.9, 0.4), (-0.3, 0.45), (0.3, 0.5), (-0.3, 0.72), (-0.8, 0.6)], TRIM)
    return [*body, *fluke, *belly, *disc(-0.6, 0.05, 0.08, DETAIL)]


@kind("bone", "a knob at each corner", ("soil", "grass", "carpet"), hues=(0.12,))
def bone(rng: np.random.Generator) -> list[Part]:
    r = rng.uniform(0.23, 0.29)
    return [*box(-0.17, -0.7, 0.17, 0.7), *[p for x in (-0.2, 0.2) for y in (-0.76, 0.76) for p in disc(x, y, r)]]


@kind("acorn", "a textured cap", ("leaves", "soil", "wood"), hues=(BROWN,))
def acorn(rng: np.random.Generator) -> list[Part]:
    nut = blob([(-0.52, -0.2), (0.52, -0.2), (0.48, 0.4), (0, 1), (-0.48, 0.4)])
    cap = poly([*arc(0, -0.15, 0.68, 0.6, 180, 360), (0.6, 0), (-0.6, 0)], TRIM)
    return [*nut, *cap, *stroke([(0, -0.7), (0.06, -1)], 0.14, TRIM)]


@kind("penguin", "a white belly and flippers", ("snow", "water", "gravel"), upright=True, novel=True)
def penguin(rng: np.random.Generator) -> list[Part]:
    flippers = [*oval(-0.58, 0.15, 0.13, 0.45, BODY, 18), *oval(0.58, 0.15, 0.13, 0.45, BODY, -18)]
    feet = [*oval(-0.25, 0.95, 0.22, 0.1, DETAIL), *oval(0.25, 0.95, 0.22, 0.1, DETAIL)]
    return [
        *flippers,
        *feet,
        *oval(0, 0.25, 0.52, 0.7),
        *disc(0, -0.58, 0.36),
        *oval(0, 0.35, 0.34, 0.5, TRIM),
        *poly([(-0.12, -0.55), (0.12, -0.55), (0, -0.35)], DETAIL),
    ]
