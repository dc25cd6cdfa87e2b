"""What is kept of a class's exemplars: their features, condensed to a bounded number of weighted tokens.

Shapes: A classes, K shots, I = A * K exemplar images, T tokens, C channels, D width, h x w a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.repaired.correlation import MASS_FLOOR, unit

# More shots of a class than this share the cells of this many, so that cost stops growing with shots.
SHOTS_IN_FULL = 5


@dataclass(frozen=True)
class Tokens:
    """For each correlated map the unit vectors of exemplar cells; `mass` says how much each one counts.

    foreground[m]: (A, K * side^2, C_m), background[m]: (A, K * (side // 2)^2, C_m), masses alike without C.
    """

    foreground: list[Tensor]
    background: list[Tensor]
    foreground_mass: Tensor
    background_mass: Tensor


@dataclass(frozen=True)
class RepairedSupport:
    """All shots of a class (or of A classes with equally many shots), condensed."""

    tokens: Tokens
    exchanged: Tensor | None  # (A, T, D), what transport moves; None without transport
    masks: Tensor  # (A, K, h, w), where the support branch saw the class

    @property
    def shots(self) -> int:
        return self.masks.shape[1]

    def to(self, target: torch.device | torch.dtype | str) -> RepairedSupport:
        tokens = Tokens(
            [level.to(target) for level in self.tokens.foreground],
            [level.to(target) for level in self.tokens.background],
            self.tokens.foreground_mass.to(target),
            self.tokens.background_mass.to(target),
        )
        exchanged = None if self.exchanged is None else self.exchanged.to(target)
        return RepairedSupport(tokens, exchanged, self.masks.to(target))


def cells_per_side(grid: int, shots: int) -> int:
    """The side of a shot's grid of tokens: `grid`, or less where many shots share the cells of a few."""
    return min(grid, max(2, isqrt(SHOTS_IN_FULL * grid**2 // shots)))


def condense(maps: Sequence[Tensor], mask_AKhw: Tensor, grid: int) -> Tokens:
    """Averages each map (I, C, h, w) in the cells of a coarse grid, weighted by the mask and by its complement."""
    A, K = mask_AKhw.shape[:2]
    fine = cells_per_side(grid, K)
    coarse = fine // 2
    foreground, background = [], []
    for plane in maps:
        weight = F.adaptive_avg_pool2d(mask_AKhw.flatten(0, 1)[:, None], (plane.shape[-2], plane.shape[-1]))
        foreground.append(pooled_tokens(plane, weight, fine, A))
        background.append(pooled_tokens(plane, 1 - weight, coarse, A))
    return Tokens(foreground, background, mass(mask_AKhw, fine), mass(1 - mask_AKhw, coarse))


def pooled_tokens(map_IChw: Tensor, weight_I1hw: Tensor, side: int, classes: int) -> Tensor:
    # The divisor of a weighted mean does not matter: tokens are brought to unit length.
    pooled = F.adaptive_avg_pool2d(map_IChw * (weight_I1hw + MASS_FLOOR), side)
    pooled = pooled / F.adaptive_avg_pool2d(weight_I1hw + MASS_FLOOR, side)
    tokens_ITC = unit(pooled.flatten(2).transpose(1, 2), dim=-1)
    return tokens_ITC.reshape(classes, -1, tokens_ITC.shape[-1])


def mass(mask_AKhw: Tensor, side: int) -> Tensor:
    return F.adaptive_avg_pool2d(mask_AKhw, side).flatten(1)
