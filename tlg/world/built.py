"""Classes of vehicles and buildings."""

from __future__ import annotations

import numpy as np

from tlg.world.geometry import (
    CUT,
    DETAIL,
    TRIM,
    Part,
    arc,
    blob,
    box,
    disc,
    mirrored,
    oval,
    poly,
    spokes,
    stroke,
    turned,
)
from tlg.world.kinds import kind

STREET = ("concrete", "bricks", "gravel")
SEA = ("water", "sky", "sand")


def wheel(x: float, y: float, r: float) -> list[Part]:
    return [*disc(x, y, r, DETAIL), *disc(x, y, r * 0.45, TRIM)]


@kind("car", "two wheels and windows", STREET, upright=True)
def car(rng: np.random.Generator) -> list[Part]:
    roof = rng.uniform(0.35, 0.5)
    cabin = poly([(-0.6, -0.05), (-roof, -0.5), (roof - 0.1, -0.5), (0.6, -0.05)])
    windows = [
        *poly([(-0.47, -0.08), (-roof + 0.05, -0.4), (-0.08, -0.4), (-0.08, -0.08)], TRIM),
        *poly([(0.04, -0.08), (0.04, -0.4), (roof - 0.15, -0.4), (0.45, -0.08)], TRIM),
    ]
    return [
        *cabin,
        *blob([(-1, 0.3), (-0.9, 0.0), (0, -0.1), (0.9, 0.0), (1, 0.35), (0, 0.42)]),
        *box(-0.95, 0.05, 0.95, 0.4),
        *windows,
        *wheel(-0.55, 0.4, 0.25),
        *wheel(0.55, 0.4, 0.25),
    ]


@kind("truck", "a cab and a cargo box", STREET, upright=True, novel=True)
def truck(rng: np.random.Generator) -> list[Part]:
    top = rng.uniform(-0.65, -0.5)
    cab = [
        *poly([(0.38, 0.4), (0.38, -0.3), (0.72, -0.3), (1, 0.05), (1, 0.4)], TRIM),
        *poly([(0.5, -0.18), (0.68, -0.18), (0.85, 0.05), (0.5, 0.05)], DETAIL),
    ]
    return [
        *box(-1, top, 0.32, 0.35),
        *box(-1, 0.28, 0.5, 0.42, TRIM),
        *cab,
        *wheel(-0.6, 0.45, 0.24),
        *wheel(-0.08, 0.45, 0.24),
        *wheel(0.66, 0.45, 0.24),
    ]


@kind("sailboat", "a triangular sail", SEA, upright=True, novel=True)
def sailboat(rng: np.random.Generator) -> list[Part]:
    hull = poly([(-0.9, 0.5), (0.9, 0.5), (0.6, 0.95), (-0.6, 0.95)])
    sails = [
        *poly([(0.03, -1), (0.78, 0.38), (0.03, 0.38)], TRIM),
        *poly([(-0.12, -0.75), (-0.12, 0.38), (-0.65, 0.38)], DETAIL),
    ]
    return [*box(-0.09, -1, 0.02, 0.55), *sails, *hull]


@kind("rocket", "pointed nose and fins", ("sky", "concrete", "metal"), novel=True)
def rocket(rng: np.random.Generator) -> list[Part]:
    fins = [
        *poly([(-0.25, 0.2), (-0.7, 0.75), (-0.25, 0.65)], TRIM),
        *poly([(0.25, 0.2), (0.7, 0.75), (0.25, 0.65)], TRIM),
    ]
    body = blob([(0, -1.05), (0.3, -0.5), (0.33, 0.2), (0.25, 0.7), (-0.25, 0.7), (-0.33, 0.2), (-0.3, -0.5)])
    return [
        *fins,
        *poly([(-0.2, 0.65), (0.2, 0.65), (0, 1.05)], DETAIL),
        *body,
        *disc(0, -0.3, rng.uniform(0.12, 0.18), DETAIL),
    ]


@kind("airplane", "swept wings and a tail", ("sky", "concrete", "water"))
def airplane(rng: np.random.Generator) -> list[Part]:
    sweep = rng.uniform(0.15, 0.4)
    wings = [
        *poly([(0, -0.25), (1, sweep), (1, sweep + 0.2), (0, 0.2)], TRIM),
        *poly([(0, -0.25), (-1, sweep), (-1, sweep + 0.2), (0, 0.2)], TRIM),
    ]
    tail = poly([(0, 0.55), (0.42, 0.85), (0.42, 0.98), (-0.42, 0.98), (-0.42, 0.85)], TRIM)
    return [*wings, *tail, *oval(0, 0, 0.17, 1.0)]


@kind("bicycle", "two spoked wheels", STREET, upright=True)
def bicycle(rng: np.random.Generator) -> list[Part]:
    rims = [p for x in (-0.58, 0.58) for p in [*disc(x, 0.35, 0.42, DETAIL), *disc(x, 0.35, 0.28, CUT)]]
    hubs = [
        p
        for x in (-0.58, 0.58)
        for p in [
            *stroke([(x - 0.3, 0.35), (x + 0.3, 0.35)], 0.06, DETAIL),
            *stroke([(x, 0.05), (x, 0.65)], 0.06, DETAIL),
        ]
    ]
    frame = [
        *stroke([(-0.58, 0.35), (-0.2, -0.3), (0.4, -0.3), (0.05, 0.35), (-0.58, 0.35)], 0.12),
        *stroke([(0.58, 0.35), (0.35, -0.6), (0.6, -0.65)], 0.12),
        *stroke([(0.05, 0.35), (-0.25, -0.5)], 0.12),
    ]
    return [*rims, *hubs, *frame, *oval(-0.28, -0.55, 0.22, 0.08, TRIM)]


@kind("hot air balloon", "a striped envelope and a basket", ("sky", "grass", "sand"), upright=True)
def hot_air_balloon(rng: np.random.Generator) -> list[Part]:
    envelope = blob(mirrored([(0.1, -1), (0.62, -0.7), (0.68, -0.2), (0.25, 0.45)]))
    ropes = [*stroke([(-0.2, 0.4), (-0.15, 0.75)], 0.06, DETAIL), *stroke([(0.2, 0.4), (0.15, 0.75)], 0.06, DETAIL)]
    return [
        *ropes,
        *envelope,
        *blob([(0, -1), (0.26, -0.4), (0.12, 0.45), (-0.12, 0.45), (-0.26, -0.4)], TRIM),
        *box(-0.21, 0.7, 0.21, 1, DETAIL),
    ]


@kind("train", "a chimney and a row of wheels", STREET, upright=True)
def train(rng: np.random.Generator) -> list[Part]:
    cab = [*box(-0.95, -0.7, -0.3, 0.45), *box(-1, -0.8, -0.22, -0.62, TRIM), *box(-0.78, -0.45, -0.48, -0.1, TRIM)]
    chimney = poly([(0.45, -0.2), (0.4, -0.85), (0.8, -0.85), (0.72, -0.2)], TRIM)
    wheels = [p for x in (-0.7, -0.2, 0.25, 0.68) for p in wheel(x, 0.55, 0.22)]
    return [*cab, *chimney, *box(-0.4, -0.25, 0.88, 0.4), *poly([(0.85, 0.15), (1.05, 0.6), (0.8, 0.6)], TRIM), *wheels]


@kind("anchor", "a ring and two flukes", SEA, novel=True)
def anchor(rng: np.random.Generator) -> list[Part]:
    arms = stroke(arc(0, 0.2, 0.68, 0.68, 15, 165, 14), 0.2)
    flukes = [
        *poly([(0.45, 0.3), (0.95, -0.08), (0.95, 0.5)], TRIM),
        *poly([(-0.45, 0.3), (-0.95, -0.08), (-0.95, 0.5)], TRIM),
    ]
    ring = [*disc(0, -0.75, 0.25), *disc(0, -0.75, 0.11, CUT)]
    return [*arms, *flukes, *box(-0.11, -0.6, 0.11, 0.95), *ring, *stroke([(-0.42, -0.35), (0.42, -0.35)], 0.18)]


@kind("helicopter", "a rotor on top", ("sky", "grass", "concrete"), upright=True)
def helicopter(rng: np.random.Generator) -> list[Part]:
    tail = [*poly([(0.2, -0.1), (0.9, -0.2), (0.9, -0.05), (0.2, 0.35)]), *oval(0.92, -0.18, 0.09, 0.28, TRIM)]
    skids = [
        *stroke([(-0.7, 0.85), (0.4, 0.85)], 0.1, DETAIL),
        *stroke([(-0.4, 0.5), (-0.4, 0.85)], 0.08, DETAIL),
        *stroke([(0.1, 0.5), (0.1, 0.85)], 0.08, DETAIL),
    ]
    return [
        *tail,
        *skids,
        *oval(-0.2, 0.2, 0.58, 0.42),
        *blob([(-0.75, 0.1), (-0.4, -0.15), (-0.3, 0.2), (-0.7, 0.35)], TRIM),
        *box(-0.25, -0.45, -0.12, -0.1, DETAIL),
        *oval(-0.18, -0.5, 0.82, 0.08, DETAIL),
    ]


@kind("tractor", "one huge rear wheel", ("grass", "soil", "gravel"), upright=True)
def tractor(rng: np.random.Generator) -> list[Part]:
    cab = [*box(-0.7, -0.9, 0.05, 0.1), *box(-0.55, -0.75, -0.08, -0.25, TRIM), *box(-0.78, -0.98, 0.12, -0.85, DETAIL)]
    return [
        *cab,
        *box(-0.3, -0.2, 0.9, 0.4),
        *box(0.55, -0.6, 0.66, -0.15, DETAIL),
        *wheel(-0.42, 0.4, 0.52),
        *wheel(0.65, 0.6, 0.3),
    ]


@kind("submarine", "a tower and a propeller", ("water", "gravel", "sand"), hues=(0.15,), upright=True)
def submarine(rng: np.random.Generator) -> list[Part]:
    portholes = [p for x in (-0.5, -0.1, 0.3) for p in disc(x, 0.25, 0.13, DETAIL)]
    tower = [*box(-0.25, -0.5, 0.3, 0), *stroke([(0.1, -0.5), (0.1, -0.85), (0.35, -0.85)], 0.11, TRIM)]
    screw = [*oval(0.95, -0.0, 0.08, 0.25, TRIM), *oval(0.95, 0.45, 0.08, 0.25, TRIM)]
    return [*screw, *tower, *oval(-0.05, 0.25, 0.92, 0.45), *portholes]


@kind("house", "a pitched roof and a door", ("grass", "snow", "sky"), upright=True)
def house(rng: np.random.Generator) -> list[Part]:
    peak = rng.uniform(-0.98, -0.75)
    chimney = box(0.35, -0.85, 0.58, -0.2, DETAIL)
    return [
        *chimney,
        *box(-0.7, -0.15, 0.7, 0.9),
        *poly([(-0.98, -0.08), (0, peak), (0.98, -0.08)], TRIM),
        *box(-0.15, 0.3, 0.18, 0.9, DETAIL),
        *box(-0.55, 0.1, -0.28, 0.4, DETAIL),
        *box(0.3, 0.1, 0.57, 0.4, DETAIL),
    ]


@kind("castle", "battlements and an arched gate", ("grass", "sky", "gravel"), upright=True, novel=True)
def castle(rng: np.random.Generator) -> list[Part]:
    towers = [
        p
        for x in (-0.72, 0.72)
        for p in [*box(x - 0.25, -0.6, x + 0.25, 0.9), *box(x - 0.32, -0.68, x + 0.32, -0.45, TRIM)]
    ]
    teeth = [p for x in (-0.95, -0.72, -0.49, 0.49, 0.72, 0.95) for p in box(x - 0.08, -0.92, x + 0.08, -0.6, TRIM)]
    wall = [*box(-0.5, -0.1, 0.5, 0.9), *[p for x in (-0.3, 0, 0.3) for p in box(x - 0.09, -0.28, x + 0.09, -0.05)]]
    return [
        *wall,
        *towers,
        *teeth,
        *poly([(-0.2, 0.9), (-0.2, 0.45), *arc(0, 0.45, 0.2, 0.22, 180, 360, 10), (0.2, 0.9)], DETAIL),
    ]


@kind("lighthouse", "a striped tower and a lantern", SEA, hues=(0.0,), upright=True)
def lighthouse(rng: np.random.Generator) -> list[Part]:
    tower = poly([(-0.22, -0.5), (0.22, -0.5), (0.4, 0.95), (-0.4, 0.95)])
    bands = [
        *poly([(-0.255, -0.2), (0.255, -0.2), (0.29, 0.1), (-0.29, 0.1)], TRIM),
        *poly([(-0.33, 0.4), (0.33, 0.4), (0.37, 0.7), (-0.37, 0.7)], TRIM),
    ]
    return [
        *tower,
        *bands,
        *box(-0.35, -0.58, 0.35, -0.46, DETAIL),
        *box(-0.18, -0.82, 0.18, -0.55, TRIM),
        *poly([(-0.28, -0.8), (0.28, -0.8), (0, -1.05)], DETAIL),
    ]


@kind("windmill", "four sails", ("grass", "sky", "soil"), upright=True)
def windmill(rng: np.random.Generator) -> list[Part]:
    sails = turned(
        spokes(poly([(-0.04, 0), (-0.04, -0.78), (0.2, -0.78), (0.2, -0.15), (0.04, 0)], TRIM), 4), rng.uniform(10, 80)
    )
    sails = [Part(part.outline + np.array([0, -0.3], np.float32), part.tone) for part in sails]
    return [
        *poly([(-0.26, -0.45), (0.26, -0.45), (0.45, 1), (-0.45, 1)]),
        *box(-0.12, 0.6, 0.12, 1, DETAIL),
        *sails,
        *disc(0, -0.3, 0.1, DETAIL),
    ]


@kind("tent", "an open flap", ("grass", "snow", "leaves"), upright=True)
def tent(rng: np.random.Generator) -> list[Part]:
    door = rng.uniform(0.2, 0.36)
    return [
        *poly([(0, -0.75), (1, 0.8), (-1, 0.8)]),
        *poly([(0, -0.35), (door, 0.8), (-door, 0.8)], DETAIL),
        *stroke([(0, -0.7), (-0.12, -0.95)], 0.08, TRIM),
        *stroke([(0, -0.7), (0.12, -0.95)], 0.08, TRIM),
    ]


@kind("bridge", "three arches", ("water", "sky", "grass"), upright=True)
def bridge(rng: np.random.Generator) -> list[Part]:
    count = int(rng.integers(2, 4))
    step = 2 / count
    arches = [
        p
        for k in range(count)
        for p in poly(
            [
                (-1 + step * (k + 0.14), 0.7),
                *arc(-1 + step * (k + 0.5), 0.3, step * 0.36, 0.4, 180, 360, 12),
                (-1 + step * (k + 0.86), 0.7),
            ],
            CUT,
        )
    ]
    return [*box(-1, -0.35, 1, 0.65), *arches, *box(-1, -0.42, 1, -0.25, TRIM)]


@kind("telescope", "a tube on a tripod", ("grass", "sand", "concrete"), upright=True)
def telescope(rng: np.random.Generator) -> list[Part]:
    legs = [
        *stroke([(0, 0.1), (-0.5, 0.95)], 0.12, TRIM),
        *stroke([(0, 0.1), (0.5, 0.95)], 0.12, TRIM),
        *stroke([(0, 0.1), (0, 0.95)], 0.12, TRIM),
    ]
    tube = turned(
        [*box(-0.85, -0.17, 0.2, 0.17), *box(0.15, -0.24, 0.95, 0.24), *box(0.8, -0.28, 0.98, 0.28, DETAIL)],
        -rng.uniform(15, 40),
    )
    return [*legs, *tube]
