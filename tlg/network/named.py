"""What classes' names say of queries, as log-odds: of every place, and of the picture as a whole.

Shapes: B queries, N classes, h x w any grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NAME_CUES = 3
# Brings log-odds to the range of the other cues.
SCALE = 1 / 4


@dataclass(frozen=True)
class Named:
    """Zeros, even odds, where a name says nothing."""

    place: Tensor  # (B, N, h, w)
    picture: Tensor  # (B, N)
    taught: Tensor  # (B, N), 1 where the name was learned with masks, so that its places can be taken at their word

    def cues(self) -> Tensor:
        """(B, N, NAME_CUES, h, w)"""
        of_picture = [plane[..., None, None].expand_as(self.place) for plane in (SCALE * self.picture, self.taught)]
        return torch.stack([SCALE * self.place, *of_picture], 2)
