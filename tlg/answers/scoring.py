"""How good answers are where the truth is known: overlap, precision and recall over the score, presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# A mask that overlaps the truth by this much counts as right.
RIGHT_IOU = 0.5
# From this presence on, a class is said to be in the picture.
PRESENT = 0.5
THRESHOLDS = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class Point:
    """What would be kept at a `min_score`: the share of masks that are right, and of the true ones that are found."""

    min_score: float
    precision: float | None  # None where no mask would be left
    recall: float | None  # None where the truth has none


@dataclass
class ClassScore:
    """One class over the pictures with truth: pixels pooled over all of them, and a note of every mask."""

    name: str
    images: int = 0
    truths: int = 0
    intersection: int = 0
    union: int = 0
    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    # [truth][said]: pictures by whether the class is in them, and by whether presence says so.
    presence: list[list[int]] = field(default_factory=lambda: [[0, 0], [0, 0]])

    def add(self, answer_HW: np.ndarray | None, truth_HW: np.ndarray, score: float, presence: float) -> None:
        """One picture; `answer_HW` is None where no mask was answered. Both masks are (H, W) bool."""
        answered_HW = np.zeros_like(truth_HW) if answer_HW is None else answer_HW
        intersection, union = int((answered_HW & truth_HW).sum()), int((answered_HW | truth_HW).sum())
        is_there = bool(truth_HW.any())
        self.images += 1
        self.truths += is_there
        self.intersection += intersection
        self.union += union
        self.presence[is_there][presence >= PRESENT] += 1
        if answer_HW is not None:
            self.scores.append(score)
            self.right.append(union > 0 and intersection / union >= RIGHT_IOU)

    @property
    def iou(self) -> float | None:
        """None where neither the truth nor an answer has a pixel."""
        return self.intersection / self.union if self.union else None


def at(scores: Sequence[ClassScore], min_score: float) -> Point:
    """Precision and recall of some classes together, of masks with this score or a higher one."""
    counted = [
        right
        for of_class in scores
        for score, right in zip(of_class.scores, of_class.right, strict=True)
        if score >= min_score
    ]
    truths = sum(of_class.truths for of_class in scores)
    return Point(min_score, sum(counted) / len(counted) if counted else None, sum(counted) / truths if truths else None)


def curve(scores: Sequence[ClassScore]) -> list[Point]:
    return [at(scores, threshold) for threshold in THRESHOLDS]


def suggested(scores: Sequence[ClassScore], precision: float) -> float | None:
    """The lowest `min_score` from which on the precision is as wished; None where none gives it."""
    noted = [
        (score, right) for of_class in scores for score, right in zip(of_class.scores, of_class.right, strict=True)
    ]
    noted.sort(key=lambda pair: -pair[0])
    best, right, count = None, 0, 0
    for place, (score, is_right) in enumerate(noted):
        right, count = right + is_right, count + 1
        is_last_of_score = place + 1 == len(noted) or noted[place + 1][0] < score
        if is_last_of_score and right / count >= precision:
            best = score
    return best


def as_json(scores: Sequence[ClassScore], precision: float) -> dict[str, Any]:
    """All figures of some classes together; `iou` is the mean over the classes."""
    known = [of_class.iou for of_class in scores if of_class.iou is not None]
    everything = at(scores, 0.0)
    return {
        "iou": float(np.mean(known)) if known else None,
        "images": sum(of_class.images for of_class in scores),
        "masks": sum(len(of_class.scores) for of_class in scores),
        "truths": sum(of_class.truths for of_class in scores),
        "precision": everything.precision,
        "recall": everything.recall,
        "suggested_min_score": suggested(scores, precision),
        "presence": {
            "right": sum(of_class.presence[1][1] for of_class in scores),
            "missed": sum(of_class.presence[1][0] for of_class in scores),
            "false": sum(of_class.presence[0][1] for of_class in scores),
            "rightly_absent": sum(of_class.presence[0][0] for of_class in scores),
        },
        "curve": [
            {"min_score": point.min_score, "precision": point.precision, "recall": point.recall}
            for point in curve(scores)
        ],
    }
