"""Pseudo-masks and presence from image-level labels: where a class is in a picture, and whether it is there at all."""

from tlg.evidence.background import Background
from tlg.evidence.exemplar import Exemplar, FittedPrior, Prior

__all__ = ["Background", "Exemplar", "FittedPrior", "Prior"]
