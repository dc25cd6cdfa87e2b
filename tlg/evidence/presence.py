"""Is the class in the picture at all? A probability per image and class, from the whole picture's deepest features.

Evidence is the mean cosine between the picture and the class's exemplars, after each channel was standardised over
pictures that are known to lack the class (the model's background, the user's negatives, the other classes' exemplars).
It is then counted in deviations of what those very pictures score, so that one scale fits every class.

Shapes: B queries, N classes, C channels, K exemplars of a class, M pictures without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# A class with one exemplar has nothing to leave out: its own pictures are then taken to score this many deviations
# above pictures without it, with this spread. Found pictures of 15 classes of photographs score 3.2 with spread 1.5.
TYPICAL_EVIDENCE = 3.2
TYPICAL_SPREAD = 1.5
# How many exemplars the typical values count for once there are exemplars to leave out.
TYPICAL_COUNTS_AS = 3.0
# Below this many pictures without the class their deviations mean nothing and plain cosines are read instead.
FEWEST_OTHERS = 8
# Plain cosines of unstandardised features: where present and absent are as likely, and how fast that changes.
COSINE_THRESHOLD, COSINE_SPREAD = 0.75, 0.05


@dataclass(frozen=True)
class ClassPresence:
    """One class: how its evidence is counted and what is likely."""

    centre: Tensor  # (C,)
    deviation: Tensor  # (C,)
    exemplars: Tensor  # (K, C) standardised unit vectors
    offset: float  # evidence of pictures without the class, mean and deviation
    scale: float
    threshold: float  # in those deviations
    spread: float

    def evidence(self, pooled_BC: Tensor) -> Tensor:
        standard_BC = F.normalize((pooled_BC - self.centre.to(pooled_BC)) / self.deviation.to(pooled_BC), dim=1)
        return ((standard_BC @ self.exemplars.to(pooled_BC).T).mean(1) - self.offset) / self.scale

    def probability(self, pooled_BC: Tensor) -> Tensor:
        """(B,): 0.5 at the threshold."""
        return torch.sigmoid((self.evidence(pooled_BC) - self.threshold) / self.spread)


def fit_class(exemplars_KC: Tensor, others_MC: Tensor) -> ClassPresence:
    """From the pooled features of the class's exemplars and of pictures that lack the class."""
    if len(others_MC) < FEWEST_OTHERS:
        centre, deviation = torch.zeros_like(exemplars_KC[0]), torch.ones_like(exemplars_KC[0])
        return ClassPresence(
            centre, deviation, F.normalize(exemplars_KC, dim=1), 0.0, 1.0, COSINE_THRESHOLD, COSINE_SPREAD
        )
    centre, deviation = others_MC.mean(0), others_MC.std(0)
    deviation = deviation.clamp_min(1e-3 * float(deviation.mean()) + 1e-12)
    own_KC = F.normalize((exemplars_KC - centre) / deviation, dim=1)
    others_MC = F.normalize((others_MC - centre) / deviation, dim=1)
    absent_M = (others_MC @ own_KC.T).mean(1)
    offset, scale = float(absent_M.mean()), max(float(absent_M.std()), 1e-6)
    typical, spread = TYPICAL_EVIDENCE, TYPICAL_SPREAD
    if len(own_KC) > 1:
        found_K = (leave_one_out(own_KC) - offset) / scale
        share = len(own_KC) / (len(own_KC) + TYPICAL_COUNTS_AS)
        typical = share * float(found_K.mean()) + (1 - share) * typical
        spread = share * float(found_K.std()) + (1 - share) * spread
    # Both kinds of mistake are equally likely where present (typical, spread) and absent (0, 1) are equally far.
    threshold = max(typical / (1 + spread), 1.0)
    return ClassPresence(centre, deviation, own_KC, offset, scale, threshold, spread=0.5)


def leave_one_out(own_KC: Tensor) -> Tensor:
    """(K,): each exemplar's mean cosine with the others."""
    sim_KK = own_KC @ own_KC.T
    return (sim_KK.sum(1) - sim_KK.diagonal()) / (len(own_KC) - 1)


def presence(classes: Sequence[ClassPresence], pooled_BC: Tensor) -> Tensor:
    """(B, N) probabilities."""
    return torch.stack([of_class.probability(pooled_BC) for of_class in classes], 1)
