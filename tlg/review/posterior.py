"""How many of a population's members are right, from few that were judged, by class and score.

The chance of being right changes smoothly with the score, in much the same way in every class: a Gaussian process of
log-odds, a curve that all classes share and one of each class's own. Its posterior predicts every member that nobody
judged (model-based inference for a finite population, as Zheng and Little 2003 and Chen, Elliott and Little 2010 do it
with splines). Where few were judged, as is the rule here, its intervals hold better and are narrower than those made of
weights. What was judged must have been chosen by class and score alone, or by chance.

Shapes: C classes, B bins of the score, S chains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

CHAINS = 24
WARM_UP = 150
TURNS = 300
# Of the turns after the warm-up every second is kept: neighbours are much alike.
EVERY = 2
JITTER = 1e-6


@dataclass(frozen=True)
class Curve:
    """How far log-odds may stray: the deviations of a level, of a slope over all scores, and of bends between."""

    level: float
    slope: float
    bend: float
    reach: float = 0.25

    def root(self, place_B: np.ndarray) -> np.ndarray:
        """(B, B): times independent normal numbers, this is a curve of the prior."""
        middle_B = place_B - 0.5
        far_BB = (place_B[:, None] - place_B[None]) / self.reach
        kernel_BB = self.level**2 + self.slope**2 * middle_B[:, None] * middle_B[None]
        kernel_BB = kernel_BB + self.bend**2 * np.exp(-0.5 * far_BB**2)
        return np.linalg.cholesky(kernel_BB + JITTER * np.eye(len(place_B)))


@dataclass(frozen=True)
class Belief:
    """What is held before anybody looked: the log-odds in the middle, and how all and each class may differ."""

    middle: float
    shared: Curve
    own: Curve
    # Classes differ by so much, give or take a factor of e to the second number.
    scale: tuple[float, float]


# A mask is more often right than not, the more so the higher its score.
MASKS = Belief(1.5, Curve(1.5, 3.0, 0.5), Curve(1.0, 1.0, 0.3), (0.6, 0.7))
# A class that was answered absent is seldom there.
ABSENT = Belief(-4.0, Curve(2.0, 3.0, 0.5), Curve(1.0, 1.0, 0.3), (0.6, 0.7))


def predicted(
    member_CB: np.ndarray,
    judged_CB: np.ndarray,
    right_CB: np.ndarray,
    place_B: np.ndarray,
    belief: Belief,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """(S, C, B), some draws at a time: how many members of each cell are right, as often as the posterior says so.

    `place_B` says where a bin's score stands among all, from 0 to 1.
    """
    left_CB = np.maximum(member_CB - judged_CB, 0).astype(np.int64)
    for logit_SCB in _posterior(judged_CB, right_CB, place_B, belief, rng):
        yield right_CB + rng.binomial(left_CB, 1 / (1 + np.exp(-logit_SCB)))


def _posterior(
    judged_CB: np.ndarray, right_CB: np.ndarray, place_B: np.ndarray, belief: Belief, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """(S, C, B) log-odds, by elliptical slice sampling (Murray, Adams and MacKay 2010), all chains at once."""
    root_shared, root_own = belief.shared.root(place_B), belief.own.root(place_B)
    classes, bins = judged_CB.shape
    at_C, at_B = np.nonzero(judged_CB)
    count_O, right_O = judged_CB[at_C, at_B], right_CB[at_C, at_B]

    def prior() -> np.ndarray:
        """(S, 1 + C, B + 1): the shared curve and each class's own; of the shared one the last number is the scale."""
        noise = rng.standard_normal((CHAINS, 1 + classes, bins + 1))
        noise[:, :1, :bins] = noise[:, :1, :bins] @ root_shared.T
        noise[:, 1:, :bins] = noise[:, 1:, :bins] @ root_own.T
        return noise

    def logits(state: np.ndarray, at_C: Any, at_B: Any) -> np.ndarray:
        scale_S1 = belief.scale[0] * np.exp(belief.scale[1] * state[:, 0, bins:])
        own, shared = state[:, 1:][:, at_C, at_B], state[:, 0][:, at_B]
        return belief.middle + shared + scale_S1.reshape(-1, *[1] * (own.ndim - 1)) * own

    def likelihood(state: np.ndarray) -> np.ndarray:
        logit_SO = logits(state, at_C, at_B)
        return (right_O * logit_SO - count_O * np.logaddexp(0, logit_SO)).sum(1)

    all_C, all_B = np.arange(classes)[:, None], np.arange(bins)[None]
    state = np.zeros((CHAINS, 1 + classes, bins + 1))
    now_S = likelihood(state)
    for turn in range(TURNS):
        state, now_S = _slice(state, now_S, prior(), likelihood, rng)
        if turn >= WARM_UP and turn % EVERY == 0:
            yield logits(state, all_C, all_B)


def _slice(
    state: np.ndarray,
    now_S: np.ndarray,
    other: np.ndarray,
    likelihood: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """One step of every chain: a place on the ellipse through the state and another of the prior."""
    level_S = now_S + np.log(rng.random(len(now_S)))
    angle_S = rng.random(len(now_S)) * 2 * np.pi
    low_S, high_S = angle_S - 2 * np.pi, angle_S.copy()
    while True:
        turn = angle_S[:, None, None]
        moved = state * np.cos(turn) + other * np.sin(turn)
        reached_S = likelihood(moved)
        is_out = reached_S <= level_S
        if not is_out.any():
            return moved, reached_S
        low_S = np.where(is_out & (angle_S < 0), angle_S, low_S)
        high_S = np.where(is_out & (angle_S >= 0), angle_S, high_S)
        angle_S = np.where(is_out, low_S + (high_S - low_S) * rng.random(len(now_S)), angle_S)
