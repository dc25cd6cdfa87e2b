"""Precision and missed rate of a whole collection, with 95 % intervals, at this threshold and at others.

A mask is right as `tlg score` has it. Precision: the share of masks that are right. Missed rate: of the pictures that
show a class, the share in which it was answered absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from tlg.answers.scoring import THRESHOLDS
from tlg.review.population import STEPS, Population, binned, edges, places, step_of
from tlg.review.posterior import ABSENT, MASKS, predicted

CONFIDENCE = 0.95
SEED = 17


@dataclass(frozen=True)
class Judged:
    """A verdict on an answer that holds. `has_mask` says whether any class of its picture was answered with a mask."""

    class_name: str
    is_mask: bool
    has_mask: bool
    score: float
    presence: float
    is_right: bool
    is_there: bool


class Estimate(NamedTuple):
    """What is likeliest, and between what it lies in 95 of 100 cases."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class At:
    """What it would be if `min_score` were this; `None` where no mask would be left, or none is known to be there."""

    min_score: float
    precision: Estimate | None
    missed: Estimate | None


@dataclass(frozen=True)
class ClassFigures:
    name: str
    masks: int
    judged_masks: int
    judged_absent: int
    precision: Estimate | None
    missed: Estimate | None
    thresholds: tuple[At, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "precision": _as_json(self.precision),
            "missed": _as_json(self.missed),
            "thresholds": [
                {"min_score": at.min_score, "precision": _as_json(at.precision), "missed": _as_json(at.missed)}
                for at in self.thresholds
            ],
        }


def _as_json(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else {name: round(value, 4) for name, value in estimate._asdict().items()}


@dataclass(frozen=True)
class _Drawn:
    """Draws of the posterior, of the classes that somebody judged; T are the thresholds, from 0 on."""

    lowest: np.ndarray  # (C,) lowest score of a mask
    members: np.ndarray  # (C, T) masks that are left
    right: np.ndarray  # (D, C, T) those of them that are right
    there: np.ndarray  # (D, C, T) those of them whose class is there
    missed: np.ndarray | None  # (D, C)


def estimate(population: Population, judged: Sequence[Judged]) -> tuple[ClassFigures | None, list[ClassFigures]]:
    """The figures of all classes together, where anything was judged, and of each class that was judged."""
    named = {judgement.class_name for judgement in judged}
    chosen = [place for place, name in enumerate(population.classes) if name in named]
    if not chosen:
        return None, []
    names = [population.classes[place] for place in chosen]
    drawn = _drawn(population, chosen, names, judged)
    every = np.arange(len(names))
    of_classes = [_figures(names[place], every[[place]], drawn, judged, {names[place]}) for place in every.tolist()]
    return _figures("all", every, drawn, judged, named), of_classes


def _drawn(population: Population, chosen: list[int], names: list[str], judged: Sequence[Judged]) -> _Drawn:
    rng = np.random.default_rng(SEED)
    masks_CT = population.masks[chosen]
    edge_B1 = edges(masks_CT)
    member_CB = binned(masks_CT, edge_B1)
    is_left_BT = (edge_B1[:-1, None] >= np.rint(np.array(THRESHOLDS) * STEPS)).astype(np.float32)
    masks = [judgement for judgement in judged if judgement.is_mask]
    row = [names.index(judgement.class_name) for judgement in masks]
    step = step_of(np.array([judgement.score for judgement in masks]))
    count_CB = _counts(row, step, [1] * len(masks), len(names), edge_B1)
    draws = []
    for said in ([judgement.is_right for judgement in masks], [judgement.is_there for judgement in masks]):
        right_CB = _counts(row, step, said, len(names), edge_B1)
        drawn = predicted(member_CB, count_CB, right_CB, places(member_CB), MASKS, rng)
        draws.append(np.concatenate([some_SCB.astype(np.float32) @ is_left_BT for some_SCB in drawn]))
    missed_DC = _missed(population, chosen, names, judged, rng)
    has_mask_CT = masks_CT > 0
    lowest_C = np.where(has_mask_CT.any(1), has_mask_CT.argmax(1), STEPS) / STEPS
    return _Drawn(lowest_C, member_CB @ is_left_BT, draws[0], draws[1], missed_DC)


def _missed(
    population: Population, chosen: list[int], names: list[str], judged: Sequence[Judged], rng: np.random.Generator
) -> np.ndarray | None:
    """(D, C): absent answers whose class is there; None where nobody judged an absent answer."""
    absent = [judgement for judgement in judged if not judgement.is_mask]
    if not absent:
        return None
    counts_CT = np.concatenate([population.absent_beside[chosen], population.absent_alone[chosen]])
    edge_B1 = edges(counts_CT)
    member_CB = binned(counts_CT, edge_B1)
    row = [names.index(judgement.class_name) + (0 if judgement.has_mask else len(names)) for judgement in absent]
    step = step_of(np.array([judgement.presence for judgement in absent]))
    count_CB = _counts(row, step, [1] * len(absent), len(counts_CT), edge_B1)
    there_CB = _counts(row, step, [judgement.is_there for judgement in absent], len(counts_CT), edge_B1)
    drawn = predicted(member_CB, count_CB, there_CB, places(member_CB), ABSENT, rng)
    missed_DC = np.concatenate([some_SCB.sum(2) for some_SCB in drawn])
    return missed_DC[:, : len(names)] + missed_DC[:, len(names) :]


def _counts(row: list[int], step: np.ndarray, weight: Sequence[float], rows: int, edge_B1: np.ndarray) -> np.ndarray:
    counts_CB = np.zeros((rows, len(edge_B1) - 1))
    bin_N = np.searchsorted(edge_B1, step, side="right") - 1
    np.add.at(counts_CB, (np.asarray(row, np.int64), bin_N), np.asarray(weight, float))
    return counts_CB


def _figures(name: str, rows: np.ndarray, drawn: _Drawn, judged: Sequence[Judged], named: set[str]) -> ClassFigures:
    own = [judgement for judgement in judged if judgement.class_name in named]
    masks = sum(judgement.is_mask for judgement in own)
    # Below the lowest score nothing was ever left out.
    lowest = drawn.lowest[rows].min()
    every = [_at(place, rows, drawn) for place in range(len(THRESHOLDS))]
    told = tuple(at for at in every if lowest <= at.min_score < 1)
    has_masks, has_absent = masks > 0, len(own) > masks
    return ClassFigures(
        name,
        int(drawn.members[rows, 0].sum()),
        masks,
        len(own) - masks,
        every[0].precision if has_masks else None,
        every[0].missed if has_absent else None,
        told if has_masks else (),
    )


def _at(place: int, rows: np.ndarray, drawn: _Drawn) -> At:
    """With the threshold at this place."""
    left = float(drawn.members[rows, place].sum())
    precision = _estimate(drawn.right[:, rows, place].sum(1) / left) if left else None
    if drawn.missed is None:
        return At(THRESHOLDS[place], precision, None)
    there_D = drawn.there[:, rows, 0].sum(1)
    never_D = drawn.missed[:, rows].sum(1)
    missed_D = never_D + there_D - drawn.there[:, rows, place].sum(1)
    total_D = never_D + there_D
    missed = _estimate(missed_D / np.maximum(total_D, 1)) if total_D.any() else None
    return At(THRESHOLDS[place], precision, missed)


def _estimate(share_D: np.ndarray) -> Estimate:
    low, high = np.quantile(share_D, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(share_D.mean()), float(low), float(high))
