"""What classes' names say of queries, as log-odds: of every place, and of the picture as a whole.

Shapes: B queries, N classes, h x w any grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Brings log-odds to the range of the other cues.
SCALE = 1 / 4


@dataclass(frozen=True)
class Named:
    """Zeros, even odds, where a name says nothing."""

    place: Tensor  # (B, N, h, w)
    picture: Tensor  # (B, N)

    def cues(self) -> Tensor:
        """(B, N, 2, h, w)"""
        return SCALE * torch.stack([self.place, self.picture[..., None, None].expand_as(self.place)], 2)
