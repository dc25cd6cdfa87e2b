"""How much of its picture a thing takes, as its drawn exemplars show it.

Likeness alone does not tell a small thing among many from what fills its picture: the network finds too much of the
one and too little of the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The share of a picture that asks for no more and no less, and how much of the log-odds beyond it counts.
EVEN_SHARE, COUNTED = 0.1, 0.4
# Bounds of a share, so that an empty mask is no certainty.
LEAST_SHARE = 0.005


def extent(masks_KHW: Tensor) -> Tensor:
    """(): what is added to a class's logits, from the masks that people drew of it."""
    share = masks_KHW.float().mean().clamp(LEAST_SHARE, 1 - LEAST_SHARE)
    return COUNTED * (torch.logit(share) - torch.logit(share.new_tensor(EVEN_SHARE)))
