"""Classes of the house: kitchen, clothes, furniture."""

from __future__ import annotations

import numpy as np

from tlg.world.geometry import CUT, DETAIL, TRIM, Part, arc, blob, box, disc, mirrored, oval, poly, stroke
from tlg.world.kinds import kind

TABLE = ("wood", "fabric", "tiles")
FLOOR = ("carpet", "wood", "tiles")


@kind("mug", "a curved handle", TABLE, upright=True, novel=True)
def mug(rng: np.random.Generator) -> list[Part]:
    w, taper = rng.uniform(0.55, 0.65), rng.uniform(0, 0.12)
    handle = [*oval(w - 0.02, 0.02, 0.42, 0.5, TRIM), *oval(w - 0.02, 0.02, 0.22, 0.3, CUT)]
    band = box(-w, 0.1, w - 0.05, 0.1 + rng.uniform(0.15, 0.35), DETAIL)
    return [
        *handle,
        *poly([(-w, -0.8), (w, -0.8), (w - taper, 0.85), (-w + taper, 0.85)]),
        *band,
        *oval(0, -0.8, w, 0.13, TRIM),
    ]


@kind("teapot", "a spout and a lid", TABLE, upright=True)
def teapot(rng: np.random.Generator) -> list[Part]:
    spout = poly([(0.4, 0.35), (0.78, -0.35), (1.02, -0.4), (0.9, -0.2), (0.6, 0.55)])
    handle = [*oval(-0.62, 0.05, 0.4, 0.42, TRIM), *oval(-0.65, 0.05, 0.22, 0.25, CUT)]
    return [
        *spout,
        *handle,
        *oval(0, 0.2, 0.65, 0.58),
        *oval(0, -0.33, 0.36, 0.14, TRIM),
        *disc(0, -0.52, 0.12, DETAIL),
    ]


@kind("bottle", "a long neck", TABLE, hues=(0.3, 0.55), upright=True)
def bottle(rng: np.random.Generator) -> list[Part]:
    neck = rng.uniform(0.12, 0.17)
    half = [(neck, -0.95), (neck, -0.45), (0.36, -0.1), (0.38, 1), (0, 1)]
    return [
        *poly(mirrored([(0, -0.95), *half])),
        *box(-neck - 0.04, -1, neck + 0.04, -0.82, TRIM),
        *box(-0.37, 0.2, 0.37, 0.7, DETAIL),
    ]


@kind("wine glass", "a thin stem", TABLE, upright=True)
def wine_glass(rng: np.random.Generator) -> list[Part]:
    bowl = poly([(-0.5, -1), (0.5, -1), (0.55, -0.55), *arc(0, -0.45, 0.5, 0.55, 0, 180), (-0.55, -0.55)])
    wine = poly([(-0.47, -0.5), (0.47, -0.5), *arc(0, -0.42, 0.44, 0.44, 0, 180)], DETAIL)
    return [*bowl, *wine, *box(-0.09, 0.05, 0.09, 0.85, TRIM), *oval(0, 0.9, 0.5, 0.13, TRIM)]


@kind("fork", "four tines", TABLE)
def fork(rng: np.random.Generator) -> list[Part]:
    tines = [part for x in (-0.3, -0.1, 0.1, 0.3) for part in box(x - 0.065, -1, x + 0.065, -0.4)]
    palm = poly([(-0.365, -0.5), (0.365, -0.5), (0.3, -0.15), (0.1, 0.05), (-0.1, 0.05), (-0.3, -0.15)])
    return [*tines, *palm, *blob([(-0.1, 0), (0.1, 0), (0.17, 0.9), (0, 1), (-0.17, 0.9)])]


@kind("spoon", "an oval bowl", TABLE)
def spoon(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.32, 0.42)
    return [
        *blob([(-0.09, -0.2), (0.09, -0.2), (0.17, 0.9), (0, 1), (-0.17, 0.9)]),
        *oval(0, -0.58, w, 0.44),
        *oval(0, -0.58, w - 0.12, 0.3, TRIM),
    ]


@kind("knife", "a pointed blade", TABLE)
def knife(rng: np.random.Generator) -> list[Part]:
    blade = poly([(-0.18, 0.25), (-0.2, -0.6), (0, -1), (0.22, -0.7), (0.22, 0.25)], TRIM)
    return [*blade, *box(-0.2, 0.2, 0.26, 0.32, DETAIL), *blob([(-0.17, 0.3), (0.2, 0.3), (0.17, 0.95), (-0.2, 0.95)])]


@kind("frying pan", "a flat round pan", ("tiles", "metal", "wood"))
def frying_pan(rng: np.random.Generator) -> list[Part]:
    return [
        *stroke([(0.2, 0.2), (0.9, 0.85)], 0.24, TRIM),
        *disc(-0.27, -0.27, 0.68),
        *disc(-0.27, -0.27, 0.52, DETAIL),
    ]


@kind("umbrella", "a scalloped canopy and a hook", ("bricks", "concrete", "water"), upright=True, novel=True)
def umbrella(rng: np.random.Generator) -> list[Part]:
    count = int(rng.integers(3, 5))
    canopy = poly(arc(0, 0.05, 0.98, 0.95, 180, 360))
    step = 1.96 / count
    scallops = [
        p for k in range(count) for p in poly(arc(-0.98 + step * (k + 0.5), 0.07, step / 2.2, 0.17, 180, 360), CUT)
    ]
    panel = poly([(0, -0.9), (step / 2, 0.0), (-step / 2, 0.0)], TRIM) if count % 2 else []
    hook = stroke([(0, -0.1), (0, 0.75), *arc(0.17, 0.75, 0.17, 0.2, 180, 20, 8)], 0.11, DETAIL)
    return [*canopy, *panel, *scallops, *hook]


@kind("lamp", "a shade on a stand", FLOOR, upright=True)
def lamp(rng: np.random.Generator) -> list[Part]:
    top = rng.uniform(0.25, 0.4)
    return [
        *box(-0.08, -0.3, 0.08, 0.85, TRIM),
        *oval(0, 0.88, 0.42, 0.13, TRIM),
        *poly([(-top, -1), (top, -1), (0.65, -0.15), (-0.65, -0.15)]),
    ]


@kind("chair", "four legs and a backrest", FLOOR, upright=True)
def chair(rng: np.random.Generator) -> list[Part]:
    legs = [*box(-0.55, 0.1, -0.38, 1), *box(0.38, 0.1, 0.55, 1)]
    back = [*box(-0.55, -1, -0.38, 0.2), *box(-0.5, -0.9, 0.5, -0.55, TRIM), *box(0.38, -1, 0.55, 0.2)]
    return [*legs, *back, *box(-0.5, -0.4, 0.5, -0.22, TRIM), *box(-0.65, 0, 0.65, 0.24)]


@kind("clock", "two hands on a round face", ("bricks", "paper", "wood"), upright=True)
def clock(rng: np.random.Generator) -> list[Part]:
    feet = [*stroke([(-0.5, 0.6), (-0.7, 0.95)], 0.2, TRIM), *stroke([(0.5, 0.6), (0.7, 0.95)], 0.2, TRIM)]
    bells = [*disc(-0.5, -0.72, 0.28, TRIM), *disc(0.5, -0.72, 0.28, TRIM)]
    a, b = rng.uniform(0, 2 * np.pi, 2)
    hands = [
        *stroke([(0, 0), (0.5 * np.cos(a), 0.5 * np.sin(a))], 0.1),
        *stroke([(0, 0), (0.32 * np.cos(b), 0.32 * np.sin(b))], 0.12),
    ]
    return [*feet, *bells, *disc(0, 0.02, 0.82), *disc(0, 0.02, 0.64, DETAIL), *hands]


@kind("candle", "a flame on top", TABLE, upright=True)
def candle(rng: np.random.Generator) -> list[Part]:
    flame = blob([(0, -1.05), (0.17, -0.68), (0, -0.5), (-0.17, -0.68)], DETAIL)
    drip = blob([(-0.3, -0.4), (0.3, -0.4), (0.32, -0.05), (0.15, -0.25), (-0.05, 0.12), (-0.3, -0.2)], TRIM)
    return [
        *flame,
        *box(-0.04, -0.55, 0.04, -0.35, DETAIL),
        *box(-0.3, -0.4, 0.3, 0.9),
        *drip,
        *oval(0, 0.9, 0.62, 0.15, TRIM),
    ]


@kind("light bulb", "a screw base", ("paper", "wood", "metal"), hues=(0.14,))
def light_bulb(rng: np.random.Generator) -> list[Part]:
    cap = [part for y in (0.42, 0.6, 0.78) for part in box(-0.27, y, 0.27, y + 0.12, TRIM)]
    glass = blob([(0, -1), (0.62, -0.7), (0.62, -0.15), (0.3, 0.45), (-0.3, 0.45), (-0.62, -0.15), (-0.62, -0.7)])
    return [*glass, *box(-0.22, 0.4, 0.22, 0.92, DETAIL), *cap, *oval(-0.25, -0.5, 0.1, 0.22, DETAIL, 25)]


@kind("shirt", "two short sleeves", ("fabric", "carpet", "wood"), upright=True)
def shirt(rng: np.random.Generator) -> list[Part]:
    half = [(0.2, -0.8), (0.5, -0.75), (1, -0.2), (0.7, 0.05), (0.5, -0.15), (0.5, 0.9), (0, 0.9)]
    stripe = box(-0.5, 0.1, 0.5, 0.1 + rng.uniform(0.1, 0.35), TRIM)
    return [*poly(mirrored([(0, -0.62), *half])), *stripe, *oval(0, -0.78, 0.2, 0.16, CUT)]


@kind("trousers", "two long legs", ("fabric", "carpet", "wood"), hues=(0.6,), upright=True)
def trousers(rng: np.random.Generator) -> list[Part]:
    flare = rng.uniform(0.0, 0.15)
    half = [(0.42, -0.95), (0.55 + flare, 1), (0.12, 1), (0, -0.2)]
    return [
        *poly(mirrored([(0, -0.95), *half])),
        *box(-0.43, -0.95, 0.43, -0.76, TRIM),
        *box(-0.05, -0.76, 0.05, -0.3, DETAIL),
    ]


@kind("boot", "a thick sole", ("soil", "carpet", "concrete"), upright=True)
def boot(rng: np.random.Generator) -> list[Part]:
    body = poly(
        [(-0.6, -0.95), (0.05, -0.95), (0.08, 0.1), *arc(0.55, 0.5, 0.42, 0.38, 270, 360, 8), (0.97, 0.7), (-0.6, 0.7)]
    )
    laces = [part for y in (-0.5, -0.2, 0.1) for part in stroke([(-0.15, y), (0.08, y - 0.08)], 0.09, DETAIL)]
    return [*body, *laces, *box(-0.65, 0.66, 1, 0.92, TRIM), *box(-0.65, -1, 0.1, -0.78, TRIM)]


@kind("hat", "a wide brim", ("carpet", "sand", "fabric"), upright=True)
def hat(rng: np.random.Generator) -> list[Part]:
    tall = rng.uniform(-0.85, -0.6)
    crown = blob([(-0.5, 0.35), (-0.45, tall + 0.15), (-0.1, tall), (0.1, tall), (0.45, tall + 0.15), (0.5, 0.35)])
    return [*oval(0, 0.38, 1, 0.24), *crown, *poly([(-0.5, 0.05), (0.5, 0.05), (0.52, 0.33), (-0.52, 0.33)], TRIM)]


@kind("bell", "a clapper under the rim", ("bricks", "wood", "snow"), hues=(0.13,), upright=True)
def bell(rng: np.random.Generator) -> list[Part]:
    half = [(0.25, -0.75), (0.42, -0.3), (0.5, 0.25), (0.85, 0.6), (0, 0.6)]
    return [
        *disc(0, 0.68, 0.2, DETAIL),
        *disc(0, -0.82, 0.17, TRIM),
        *poly(mirrored([(0, -0.85), *half])),
        *box(-0.85, 0.5, 0.85, 0.68, TRIM),
    ]


@kind("comb", "a row of teeth", ("tiles", "fabric", "wood"))
def comb(rng: np.random.Generator) -> list[Part]:
    teeth = np.linspace(-0.85, 0.85, int(rng.integers(8, 11)))
    return [
        *box(-0.95, -0.45, 0.95, 0.0),
        *[part for x in teeth for part in box(x - 0.06, -0.05, x + 0.06, 0.5)],
        *box(-0.8, -0.32, 0.8, -0.2, TRIM),
    ]


@kind("vase", "a narrow neck and a round belly", TABLE, upright=True)
def vase(rng: np.random.Generator) -> list[Part]:
    belly = rng.uniform(0.5, 0.65)
    half = [(0.38, -0.95), (0.2, -0.65), (0.25, -0.35), (belly, 0.2), (0.45, 0.75), (0.3, 0.95)]
    return [
        *blob(mirrored(half)),
        *poly([(-belly, 0.1), (belly, 0.1), (belly, 0.3), (-belly, 0.3)], TRIM),
        *oval(0, -0.92, 0.36, 0.1, DETAIL),
    ]


@kind("sock", "a striped cuff", ("carpet", "fabric", "wood"))
def sock(rng: np.random.Generator) -> list[Part]:
    body = blob([(-0.45, -0.9), (0.15, -0.9), (0.18, 0.1), (0.75, 0.4), (0.8, 0.8), (0.2, 0.9), (-0.4, 0.65)])
    cuff = [part for y in (-0.88, -0.62) for part in box(-0.47, y, 0.18, y + 0.14, TRIM)]
    return [*body, *cuff, *blob([(0.5, 0.35), (0.85, 0.5), (0.82, 0.78), (0.55, 0.85)], DETAIL)]


@kind("envelope", "a triangular flap", ("wood", "paper", "carpet"))
def envelope(rng: np.random.Generator) -> list[Part]:
    fold = rng.uniform(0.0, 0.2)
    return [
        *box(-0.98, -0.62, 0.98, 0.62),
        *poly([(-0.98, -0.62), (0.98, -0.62), (0, fold)], TRIM),
        *stroke([(-0.9, 0.52), (-0.3, 0.05)], 0.05, TRIM),
        *stroke([(0.9, 0.52), (0.3, 0.05)], 0.05, TRIM),
    ]


@kind("guitar", "strings on a long neck", ("carpet", "wood", "fabric"), hues=(0.07,), novel=True)
def guitar(rng: np.random.Generator) -> list[Part]:
    body = blob(
        [
            (0, -0.15),
            (0.33, -0.1),
            (0.28, 0.25),
            (0.5, 0.65),
            (0.3, 0.98),
            (-0.3, 0.98),
            (-0.5, 0.65),
            (-0.28, 0.25),
            (-0.33, -0.1),
        ]
    )
    return [
        *body,
        *box(-0.09, -0.8, 0.09, 0.3, TRIM),
        *poly([(-0.15, -1.05), (0.15, -1.05), (0.1, -0.75), (-0.1, -0.75)], TRIM),
        *disc(0, 0.36, 0.15, DETAIL),
        *box(-0.2, 0.72, 0.2, 0.8, DETAIL),
    ]


@kind("backpack", "a front pocket and straps", ("grass", "carpet", "concrete"), upright=True)
def backpack(rng: np.random.Generator) -> list[Part]:
    loop = [*disc(0, -0.82, 0.22, TRIM), *disc(0, -0.8, 0.1, CUT)]
    sides = [*box(-0.75, 0.1, -0.5, 0.7, TRIM), *box(0.5, 0.1, 0.75, 0.7, TRIM)]
    body = blob([(-0.5, -0.55), (0, -0.8), (0.5, -0.55), (0.62, 0.3), (0.55, 0.92), (-0.55, 0.92), (-0.62, 0.3)])
    return [
        *loop,
        *sides,
        *body,
        *box(-0.4, 0.2, 0.4, 0.75, TRIM),
        *box(-0.4, 0.3, 0.4, 0.4, DETAIL),
        *box(-0.08, -0.5, 0.08, -0.1, DETAIL),
    ]
