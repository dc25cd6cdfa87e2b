"""Reviews of 60 pictures of a collection whose truth is known: do the 95 % intervals hold, and how wide are they?

They are compared with Wilson's interval from 60 pictures drawn at random, every mask of which is judged as well.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from harness import Row

from tlg.review.figures import Judged, estimate
from tlg.review.population import Population, step_of
from tlg.review.sampling import Design, Draw

REVIEWS = 300
PICTURES = 60
COLLECTION = 20_000
NORMAL = 1.959964
HOLDS, WIDTH = ">= 0.93", "<= 0.5"


@dataclass(frozen=True)
class Kind:
    """A collection: how often each class is answered, at which log-odds its masks are right, what the score says."""

    name: str
    shares: tuple[float, ...]
    levels: tuple[float, ...]
    slope: float = 10.0
    missed: float = 0.03
    # Pictures differ in how hard they are.
    mood: float = 0.5


KINDS = (
    Kind("camera traps, few errors", (0.08, 0.05, 0.05, 0.03, 0.02), (4.5, 4.0, 3.5, 3.0, 4.0)),
    Kind("camera traps, some errors", (0.08, 0.05, 0.05, 0.03, 0.02), (3.0, 2.5, 2.0, 1.5, 2.5)),
    Kind("camera traps, many errors", (0.08, 0.05, 0.05, 0.03, 0.02), (1.5, 1.0, 0.5, 0.0, 1.0)),
    Kind("camera traps, scores say nothing", (0.08, 0.05, 0.05, 0.03, 0.02), (3.0, 2.5, 2.0, 1.5, 2.5), 0.0),
    Kind("street scenes, some errors", (0.5, 0.3, 0.2, 0.15, 0.1), (3.0, 2.5, 2.0, 1.5, 2.5)),
    Kind("one class in every picture", (1.0,), (2.5,)),
)


@dataclass(frozen=True)
class Collection:
    """Picture by class: whether a mask was answered, its score or presence, and the truth."""

    is_mask: np.ndarray
    score: np.ndarray
    is_right: np.ndarray
    is_there: np.ndarray

    @classmethod
    def of(cls, kind: Kind, rng: np.random.Generator) -> Collection:
        size = (COLLECTION, len(kind.shares))
        is_mask = rng.random(size) < kind.shares
        sure = 0.5 + 0.5 * rng.beta(2.2, 1.2, size)
        unsure = 0.5 * rng.beta(1.0, 4.0, size)
        mood = rng.normal(0, kind.mood, (COLLECTION, 1))
        is_right = is_mask & (rng.random(size) < _chance(np.array(kind.levels) + kind.slope * (sure - 0.83) + mood))
        there = np.where(is_mask, 0.5, kind.missed * np.array(kind.shares) * 12 * unsure)
        is_there = is_right | (rng.random(size) < there)
        return cls(is_mask, np.round(np.where(is_mask, sure, unsure), 3), is_right, is_there)


@dataclass
class Tally:
    holds: list[bool]
    widths: list[float]
    random_widths: list[float]
    missed_holds: list[bool]


def measure(reviews: int = REVIEWS) -> list[Row]:
    rows = []
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as processes:
        tallies = list(processes.map(tally_of, range(len(KINDS)), [reviews] * len(KINDS)))
    for kind, tally in zip(KINDS, tallies, strict=True):
        ratio = float(np.mean(tally.widths) / np.mean(tally.random_widths))
        inputs = f"{reviews} reviews of {PICTURES} among {COLLECTION:,} pictures, {len(kind.shares)} classes"
        rows += [
            Row(
                f"{kind.name}: interval holds the precision", float(np.mean(tally.holds)), "share", HOLDS, inputs=inputs
            ),
            Row(f"{kind.name}: width against random pictures", ratio, "ratio", WIDTH, inputs=inputs),
        ]
        if tally.missed_holds:
            held = float(np.mean(tally.missed_holds))
            rows.append(Row(f"{kind.name}: interval holds the missed rate", held, "share", HOLDS, inputs=inputs))
    return rows


def tally_of(place: int, reviews: int) -> Tally:
    tally = Tally([], [], [], [])
    for number in range(reviews):
        review(KINDS[place], np.random.default_rng([number, place]), tally)
    return tally


def review(kind: Kind, rng: np.random.Generator, tally: Tally) -> None:
    collection = Collection.of(kind, rng)
    population, chosen = drawn(collection, rng)
    _, figures = estimate(population, verdicts(collection, chosen))
    by_name = {one.name: one for one in figures}
    at_random = rng.choice(COLLECTION, PICTURES, replace=False)
    for place, name in enumerate(population.classes):
        is_mask, is_right = collection.is_mask[:, place], collection.is_right[:, place]
        is_there = collection.is_there[:, place]
        found = by_name.get(name)
        low, high = (0.0, 1.0) if found is None or found.precision is None else found.precision[1:]
        tally.holds.append(low <= is_right[is_mask].mean() <= high)
        tally.widths.append(high - low)
        if found is not None and found.missed is not None:
            share = (is_there & ~is_mask).sum() / is_there.sum()
            tally.missed_holds.append(found.missed.low <= share <= found.missed.high)
        masks = at_random[is_mask[at_random]]
        tally.random_widths.append(wilson_width(int(is_right[masks].sum()), len(masks)))


def drawn(collection: Collection, rng: np.random.Generator) -> tuple[Population, np.ndarray]:
    """The population's counts, and the pictures that a review shows."""
    pictures, classes = collection.is_mask.shape
    has_mask = collection.is_mask.any(1)
    population = Population.empty(tuple(f"class {place}" for place in range(classes)))
    step = step_of(collection.score)
    population.add(
        np.tile(np.arange(classes), pictures),
        collection.is_mask.ravel(),
        step.ravel(),
        np.repeat(has_mask, classes),
        pictures,
    )
    design = Design.of(population, PICTURES)
    draw = Draw(design, PICTURES)
    numbers = rng.permutation(pictures).astype(np.uint64)
    least = np.where(collection.is_mask, step, 2000)
    masked, other = np.flatnonzero(has_mask), np.flatnonzero(~has_mask)
    doubtful = least[masked].argmin(1)
    draw.add(numbers[masked], design.of_masked(doubtful, least[masked].min(1)), least[masked].min(1))
    nearest = step[other].max(1)
    draw.add(numbers[other], design.of_unmasked(nearest), nearest)
    return population, np.argsort(numbers)[draw.drawn().numbers.astype(np.int64)]


def verdicts(collection: Collection, chosen: np.ndarray) -> list[Judged]:
    return [
        Judged(
            f"class {place}",
            bool(collection.is_mask[picture, place]),
            bool(collection.is_mask[picture].any()),
            float(collection.score[picture, place]),
            float(collection.score[picture, place]),
            bool(collection.is_right[picture, place]),
            bool(collection.is_there[picture, place]),
        )
        for picture in chosen.tolist()
        for place in range(collection.is_mask.shape[1])
    ]


def wilson_width(right: int, count: int) -> float:
    if not count:
        return 1.0
    share, square = right / count, NORMAL**2
    return 2 * NORMAL * np.sqrt(share * (1 - share) / count + square / 4 / count**2) / (1 + square / count)


def _chance(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


if __name__ == "__main__":
    import sys

    for row in measure(int(sys.argv[1]) if len(sys.argv) > 1 else REVIEWS):
        print(f"{row.what}: {row.value:.3f} {row.aim}", flush=True)
