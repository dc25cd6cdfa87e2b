"""How alike two images are, position by position.

Shapes: B queries, N classes, X = B * N pairs, K shots, C channels, h x w a map's grid, P = h * w positions,
G = B or 1 (one set of exemplars per query, or one set for all), T tokens, M correlated maps, H x W the working grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_FLOOR = 1e-5
MASS_FLOOR = 1e-4
# All shots of a class together are condensed to about this many cells, so that cost stops growing with shots.
MAX_CELLS = 320


def unit(x: Tensor, dim: int) -> Tensor:
    """Divided by the length along `dim`."""
    return x / (x.norm(dim=dim, keepdim=True) + NORM_FLOOR)


def resized(x_BCHW: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corners aligned, as everywhere in the network."""
    if tuple(x_BCHW.shape[-2:]) == tuple(size):
        return x_BCHW
    return F.interpolate(x_BCHW, size=tuple(size), mode="bilinear", align_corners=True)


@dataclass(frozen=True)
class Tokens:
    """Condensed exemplars: for each correlated map a list of unit vectors; `mass` says how much each one counts.

    foreground[m]: (..., K * grid^2, C_m), background[m]: (..., K * (grid // 2)^2, C_m), masses alike without C.
    """

    foreground: list[Tensor]
    background: list[Tensor]
    foreground_mass: Tensor
    background_mass: Tensor
    shots: int


def cells_per_side(grid: int, shots: int) -> int:
    """The side of a shot's grid of tokens: `grid`, or less where many shots share the budget of cells."""
    return min(grid, max(2, isqrt(MAX_CELLS // shots)))


def condense(maps: Sequence[Tensor], mask_XKhw: Tensor, grid: int) -> Tokens:
    """Averages each map (X*K, C, h, w) in the cells of a coarse grid, weighted by the mask and by its complement."""
    X, K = mask_XKhw.shape[:2]
    fine, coarse = cells_per_side(grid, K), cells_per_side(grid, K) // 2
    foreground, background = [], []
    for one in maps:
        weight = F.adaptive_avg_pool2d(mask_XKhw.flatten(0, 1)[:, None], one.shape[-2:])
        foreground.append(_pooled_tokens(one, weight, fine, X))
        background.append(_pooled_tokens(one, 1 - weight, coarse, X))
    return Tokens(foreground, background, _mass(mask_XKhw, fine), _mass(1 - mask_XKhw, coarse), K)


def _pooled_tokens(map_ICHW: Tensor, weight_I1HW: Tensor, side: int, X: int) -> Tensor:
    # The common divisor of a weighted mean does not matter: tokens are brought to unit length.
    weight = weight_I1HW + MASS_FLOOR
    pooled = F.adaptive_avg_pool2d(map_ICHW * weight, side) / F.adaptive_avg_pool2d(weight, side)
    tokens = unit(pooled.flatten(2).transpose(1, 2), dim=-1)
    return tokens.reshape(X, -1, tokens.shape[-1])


def _mass(mask_XKhw: Tensor, side: int) -> Tensor:
    return F.adaptive_avg_pool2d(mask_XKhw, side).flatten(1)


def token_correlation(map_BChw: Tensor, tokens_GNTC: Tensor) -> Tensor:
    """Cosines (B, N, T, h, w) of every position with every token: one matrix product for all classes and shots."""
    B, C, h, w = map_BChw.shape
    G, N, T, _ = tokens_GNTC.shape
    cosines = torch.matmul(tokens_GNTC.reshape(G, N * T, C), unit(map_BChw, dim=1).flatten(2))
    return cosines.view(B, N, T, h, w)


def prototype_similarity(map_BChw: Tensor, mask_BNhw: Tensor) -> Tensor:
    """Cosines (B, N, h, w) of an image's positions with the mean inside a mask on that same image."""
    weight = F.adaptive_avg_pool2d(mask_BNhw, map_BChw.shape[-2:]).flatten(2)
    unit_BCP = unit(map_BChw, dim=1).flatten(2)
    prototype_BNC = unit(torch.matmul(weight, unit_BCP.transpose(1, 2)), dim=-1)
    return torch.matmul(prototype_BNC, unit_BCP).view(*mask_BNhw.shape[:2], *map_BChw.shape[-2:])


class Matching(nn.Module):
    """Cues drawn from correlations: per map the softest-nearest and the mean foreground and background likeness."""

    # Per map: nearest and mean foreground, nearest and mean background, nearest difference stretched to 0..1.
    CUES = 5

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.full((maps,), 3.0))

    def forward(self, foreground: list[Tensor], background: list[Tensor], tokens: Tokens, shots: int) -> list[Tensor]:
        """For each map the cues (X, 5, h, w), from its correlations (X, T, h, w) with what counts of `shots` shots."""
        cues = []
        for index, (fore_XThw, back_XThw) in enumerate(zip(foreground, background, strict=True)):
            sharpness = self.log_sharpness[index].exp()
            nearest_fore = nearest(fore_XThw, tokens.foreground_mass, sharpness, shots)
            nearest_back = nearest(back_XThw, tokens.background_mass, sharpness, shots)
            mean_fore = mean_likeness(fore_XThw, tokens.foreground_mass)
            mean_back = mean_likeness(back_XThw, tokens.background_mass)
            stretched = stretch(nearest_fore - nearest_back)
            cues.append(torch.stack([nearest_fore, mean_fore, nearest_back, mean_back, stretched], dim=1))
        return cues


def nearest(corr_XThw: Tensor, mass_XT: Tensor, sharpness: Tensor, shots: int) -> Tensor:
    """A smooth maximum over tokens in which a token counts by its mass."""
    weight = (mass_XT / shots + MASS_FLOOR).log()[:, :, None, None]
    return torch.logsumexp(sharpness * corr_XThw + weight, dim=1) / sharpness


def mean_likeness(corr_XThw: Tensor, mass_XT: Tensor) -> Tensor:
    share = mass_XT / (mass_XT.sum(dim=1, keepdim=True) + MASS_FLOOR)
    return torch.einsum("xthw,xt->xhw", corr_XThw, share)


def stretch(x_Xhw: Tensor) -> Tensor:
    """Each image's values brought to 0..1."""
    low, high = x_Xhw.amin((1, 2), keepdim=True), x_Xhw.amax((1, 2), keepdim=True)
    return (x_Xhw - low) / (high - low + NORM_FLOOR)
