"""What a network says of an episode. B queries, K exemplars each, H x W the input size, h x w the working grid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class EpisodeAnswer:
    """Logits of the class, and of there being any object whatever its class: None where the network does not say."""

    query: Tensor  # (B, 2, H, W)
    support: Tensor  # (B, K, 2, H, W)
    query_objectness: Tensor | None = None  # (B, 1, h, w)
    support_objectness: Tensor | None = None  # (B * K, 1, h, w)
