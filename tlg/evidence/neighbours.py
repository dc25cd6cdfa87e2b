"""The places around each place of a picture, and how alike their colours are.

Shapes: B images, C channels, K neighbours, h x w places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DILATIONS = (1, 2, 4, 8)


def neighbour_weights(guide_B3hw: Tensor, contrast: float) -> Tensor:
    """(B, K, h, w), 1 in all for each place: the more alike a neighbour's colour, the more it counts."""
    distance_BKhw = (neighbours(guide_B3hw) - guide_B3hw[:, :, None]).abs().mean(1)
    return torch.softmax(-distance_BKhw / contrast, dim=1)


def neighbours(x_BChw: Tensor) -> Tensor:
    """(B, C, K, h, w): the eight neighbours at every dilation; edges repeat."""
    height, width = x_BChw.shape[-2:]
    reach = max(DILATIONS)
    padded = F.pad(x_BChw, (reach,) * 4, mode="replicate")
    shifted = [
        padded[:, :, reach + dy * far : reach + dy * far + height, reach + dx * far : reach + dx * far + width]
        for far in DILATIONS
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if dy or dx
    ]
    return torch.stack(shifted, 2)
