"""All answers of a collection as counts: by class, by whether a mask was answered, by score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Scores and presences are told to three decimals: nothing is lost.
STEPS = 1000


def step_of(scores: np.ndarray) -> np.ndarray:
    """The place of each score among the counts."""
    return np.clip(np.rint(np.asarray(scores, np.float64) * STEPS), 0, STEPS).astype(np.int64)


@dataclass
class Population:
    """Counts (C, STEPS + 1) of masks by score, and of absent answers by presence.

    `absent_beside` are those in pictures where another class has a mask, `absent_alone` those in pictures without one:
    what is there besides something else is another matter than what is there alone.
    """

    classes: tuple[str, ...]
    masks: np.ndarray
    absent_beside: np.ndarray
    absent_alone: np.ndarray
    pictures: int = 0

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> Population:
        masks, beside, alone = np.zeros((3, len(classes), STEPS + 1), np.int64)
        return cls(classes, masks, beside, alone)

    def add(
        self, class_N: np.ndarray, is_mask_N: np.ndarray, step_N: np.ndarray, has_mask_N: np.ndarray, pictures: int
    ) -> None:
        """Some pictures' answers; `step_N` counts scores of masks, presences of others."""
        chosen = (is_mask_N, ~is_mask_N & has_mask_N, ~is_mask_N & ~has_mask_N)
        for counts, is_chosen in zip((self.masks, self.absent_beside, self.absent_alone), chosen, strict=True):
            np.add.at(counts, (class_N[is_chosen], step_N[is_chosen]), 1)
        self.pictures += pictures


def edges(counts_CT: np.ndarray, thresholds: int = 20, quantiles: int = 10) -> np.ndarray:
    """Where bins of the score begin, as steps: at every threshold, and so that no bin holds very much.

    The last number is one beyond the last step.
    """
    total_T = counts_CT.sum(0)
    fixed = np.arange(thresholds) * (STEPS // thresholds)
    if not total_T.sum():
        return np.r_[fixed, STEPS + 1]
    share_T = np.cumsum(total_T) / total_T.sum()
    even = np.searchsorted(share_T, np.arange(1, quantiles) / quantiles)
    return np.unique(np.r_[fixed, even, STEPS + 1])


def binned(counts_CT: np.ndarray, edge_B1: np.ndarray) -> np.ndarray:
    """(C, B): the counts of each bin."""
    return np.add.reduceat(counts_CT, edge_B1[:-1], axis=1)


def places(counts_CB: np.ndarray) -> np.ndarray:
    """(B,): where the middle of a bin stands among all members, from 0 to 1."""
    total_B = counts_CB.sum(0).astype(np.float64)
    return (np.cumsum(total_B) - total_B / 2) / max(1.0, total_B.sum())
