"""Pseudo-masks for batches of episodes: every episode is an exemplar set of one class.

Shapes: B episodes, S shots, H x W the input size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlg.evidence.exemplar import Prior
from tlg.network.features import Features


def episode_priors(prior: Prior, query: Features, support: Features, shots: int) -> tuple[Tensor, Tensor]:
    """Maps in 0..1 for the queries (B, H, W) and for their supports (B, S, H, W), from image-level labels alone."""
    query_maps, support_maps = [], []
    for row in range(len(query)):
        exemplars = [(support[row * shots + shot : row * shots + shot + 1], 0, None) for shot in range(shots)]
        fitted = prior.fit(exemplars)
        query_maps.append(fitted.maps(query[row : row + 1])[0, 0])
        support_maps.append(fitted.support_maps)
    return torch.stack(query_maps), torch.stack(support_maps)
