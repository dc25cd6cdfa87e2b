"""Two witnesses, one answer: what the exemplars say and what CLIP's text says about the same image.

Shapes: B images, N classes, H x W image size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# How much the text's log-odds count beside the exemplars'.
TEXT_SHARE = 0.5
# The same of a name that was taught with masks.
TAUGHT_SHARE = 0.85
# The power that makes doubtful places of an unmasked exemplar count less.
DOUBT = 3
# A probability is never taken for certain, or one witness could silence the other.
CERTAINTY = 0.01
# Without any picture that lacks the class: how far, in log-odds, a picture may fall behind the exemplars.
LEEWAY = 2.5
# Correlations of likeness and name about places: where agreement begins, and where it is whole.
NAME_AGREES = (0.5, 0.7)


def fuse(exemplar: Tensor, text: Tensor | None, text_share: float = TEXT_SHARE) -> Tensor:
    """Probabilities of any equal shape, averaged as log-odds; without text the exemplars' alone, unchanged."""
    if text is None:
        return exemplar
    odds = (1 - text_share) * bounded_log_odds(exemplar) + text_share * bounded_log_odds(text)
    return torch.sigmoid(odds)


def agreed(exemplar: Tensor, text: Tensor) -> Tensor:
    """Whether the class is there, by two witnesses who look at different things: their log-odds add up. Averaged, both
    would speak as doubtfully together as each does alone."""
    return torch.sigmoid(bounded_log_odds(exemplar) + bounded_log_odds(text))


def agreed_where_trusted(exemplar_BN: Tensor, text_BN: Tensor, trusted: Sequence[bool]) -> Tensor:
    """The same of N classes, where only names that are trusted have their say."""
    return torch.where(torch.tensor(trusted, device=exemplar_BN.device), agreed(exemplar_BN, text_BN), exemplar_BN)


def unmasked_map(exemplar: Tensor, text: Tensor | None, taught: bool = False) -> Tensor:
    """An exemplar's map of its own class where nobody drew a mask. Doubtful places speak little: a wrong one costs more
    than a missing one, since the class shows itself in many. What was taught with masks tells places well."""
    return fuse(exemplar, text, TAUGHT_SHARE) if taught else fuse(exemplar, text) ** DOUBT


def alike(one_HW: Tensor, other_HW: Tensor) -> float:
    """The correlation of two maps."""
    maps = torch.stack([one_HW.flatten(), other_HW.flatten()]).float()
    spread = maps - maps.mean(1, keepdim=True)
    return float((spread[0] * spread[1]).sum() / spread.norm(dim=1).prod().clamp_min(1e-6))


def between(value: float, low: float, high: float) -> float:
    """0 at `low` and below, 1 at `high` and above."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def bounded_log_odds(probability: Tensor) -> Tensor:
    return torch.logit(probability.clamp(CERTAINTY, 1 - CERTAINTY))


def bounded(log_odds: Tensor) -> Tensor:
    most = math.log(1 / CERTAINTY - 1)
    return log_odds.clamp(-most, most)


@dataclass(frozen=True)
class TextPresence:
    """Turns CLIP's evidence into a probability. Thresholds lie midway between pictures with and without the class."""

    threshold: Tensor  # (N,)
    scale: Tensor  # (N,)

    @staticmethod
    def fit(evidence_SN: Tensor, labels: Sequence[int | None]) -> TextPresence:
        """From every exemplar's and negative's evidence; without counterexamples even odds, or LEEWAY below the own."""
        classes = evidence_SN.shape[1]
        threshold, scale = evidence_SN.new_zeros(classes), evidence_SN.new_ones(classes)
        for index in range(classes):
            own = evidence_SN[[row for row, label in enumerate(labels) if label == index], index]
            others = evidence_SN[[row for row, label in enumerate(labels) if label != index], index]
            # A text that ranks the class's own exemplars below the others knows nothing: keep the default.
            if len(own) and len(others) and float(own.mean()) > float(others.mean()):
                threshold[index] = (own.mean() + others.mean()) / 2
                scale[index] = ((own.mean() - others.mean()) / 4).clamp_min(0.25)
            elif not len(others):
                threshold[index] = (own.mean() - LEEWAY).clamp_max(0)
        return TextPresence(threshold, scale)

    def probability(self, evidence_BN: Tensor) -> Tensor:
        return torch.sigmoid((evidence_BN - self.threshold.to(evidence_BN)) / self.scale.to(evidence_BN))
