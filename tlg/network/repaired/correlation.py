"""How alike two images are, position by position.

Shapes: B images, N classes, X pairs of image and class, K shots, C channels, T tokens,
h x w a map's grid, P = h * w positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_FLOOR = 1e-5
MASS_FLOOR = 1e-4


def unit(x: Tensor, dim: int) -> Tensor:
    """Divided by the length along `dim`."""
    return x / (x.norm(dim=dim, keepdim=True) + NORM_FLOOR)


def resized(x_BCHW: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corners aligned, as everywhere in the network."""
    if tuple(x_BCHW.shape[-2:]) == tuple(size):
        return x_BCHW
    return F.interpolate(x_BCHW, size=tuple(size), mode="bilinear", align_corners=True)


def token_correlation(unit_BChw: Tensor, tokens_BTC: Tensor) -> Tensor:
    """Cosines (B, T, h, w) of every position with every token; (T, C) tokens are matched with every image."""
    cosines_BTP = torch.matmul(tokens_BTC, unit_BChw.flatten(2))
    return cosines_BTP.unflatten(2, unit_BChw.shape[-2:])


def prototype_similarity(unit_BChw: Tensor, mask_BNhw: Tensor) -> Tensor:
    """Cosines (B, N, h, w) of an image's positions with the mean inside a mask on that same image."""
    weight_BNP = F.adaptive_avg_pool2d(mask_BNhw, (unit_BChw.shape[-2], unit_BChw.shape[-1])).flatten(2)
    unit_BCP = unit_BChw.flatten(2)
    prototype_BNC = unit(torch.matmul(weight_BNP, unit_BCP.transpose(1, 2)), dim=-1)
    return torch.matmul(prototype_BNC, unit_BCP).unflatten(2, unit_BChw.shape[-2:])


@dataclass(frozen=True)
class Matched:
    """Correlations (X, T, h, w) per map of X images with their exemplars, and how much each token and shot counts.

    A mass of zero hides a token; `shots` is how many shots are not hidden.
    """

    foreground: list[Tensor]
    background: list[Tensor]
    foreground_mass: Tensor  # (X, T)
    background_mass: Tensor  # (X, T)
    shot_weight: Tensor  # (X, K), sums to 1
    shots: int


class Matching(nn.Module):
    """Cues drawn from correlations: per map the softest-nearest and the mean foreground and background likeness."""

    # Per map: nearest foreground and background, mean foreground and background, their nearest difference stretched.
    CUES = 5

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.full((maps,), 3.0))

    def forward(self, matched: Matched) -> list[Tensor]:
        """For each map the cues (X, 5, h, w)."""
        fore_mass, back_mass = matched.foreground_mass, matched.background_mass
        cues = []
        for index, (fore_XThw, back_XThw) in enumerate(zip(matched.foreground, matched.background, strict=True)):
            sharpness = self.log_sharpness[index].exp()
            nearest_fore = nearest(fore_XThw, fore_mass, sharpness, matched.shots)
            nearest_back = nearest(back_XThw, back_mass, sharpness, matched.shots)
            stretched = stretch(nearest_fore - nearest_back)
            means = mean_likeness(fore_XThw, fore_mass), mean_likeness(back_XThw, back_mass)
            cues.append(torch.stack([nearest_fore, nearest_back, *means, stretched], dim=1))
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
