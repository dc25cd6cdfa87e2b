"""Closed-form evidence of one level: how a query's places relate to what was shown, and to what surrounded it.

Nothing here is learnt and nothing but relations comes out, so that what merely stands out in a picture cannot answer.

Shapes: X pairs of image and class, C channels, h x w the level's grid, L = h * w, T cells of the exemplars.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.reading.memory import LevelMemory, moments

CUES = 5
# How sharply the nearest cells outweigh the others: a factor on cosines.
SHARPNESS = 20.0
# A cell without mass counts as this much of the whole, instead of minus infinity in a logarithm.
LEAST_SHARE = 1e-7
# Of the mean variance of a level's channels: what is added to each before the discriminant is solved.
RIDGE = 0.1
# Keep quotients finite where a level is constant.
LEAST_DEVIATION, LEAST_VARIANCE, LEAST_MARGIN = 1e-3, 1e-4, 1e-3
# Brings the cues to a like range.
MARGIN_SCALE, PROTOTYPE_SCALE, DISCRIMINANT_LIMIT = 5.0, 2.0, 3.0


def level_cues(map_XChw: Tensor, memory: LevelMemory) -> Tensor:
    """(X, CUES, h, w): likeness to the nearest cells inside, outside, their difference, prototypes, a discriminant."""
    h, w = map_XChw.shape[-2:]
    place_XLC = map_XChw.flatten(2).transpose(1, 2)
    mean_XC, second_XCC = moments(map_XChw)
    # Centred and scaled by what the pictures at hand show: on a uniform surface everything is alike otherwise.
    centre_XC = (mean_XC + memory.mean) / 2
    covariance_XCC = (second_XCC + memory.second) / 2 - centre_XC[:, :, None] * centre_XC[:, None]
    variance_XC = covariance_XCC.diagonal(dim1=1, dim2=2).clamp_min(0)
    deviation_X1C = (variance_XC.sqrt() + LEAST_DEVIATION)[:, None]
    place_XLC = place_XLC - centre_XC[:, None]
    inside_XTC, outside_XTC = memory.inside - centre_XC[:, None], memory.outside - centre_XC[:, None]
    unit_XLC = F.normalize(place_XLC / deviation_X1C, dim=-1)
    like_inside_XL = nearness(unit_XLC, F.normalize(inside_XTC / deviation_X1C, dim=-1), memory.inside_mass)
    like_outside_XL = nearness(unit_XLC, F.normalize(outside_XTC / deviation_X1C, dim=-1), memory.outside_mass)
    inside_XC = (memory.inside_mass[:, None] @ inside_XTC)[:, 0]
    outside_XC = (memory.outside_mass[:, None] @ outside_XTC)[:, 0]
    prototype_XC = F.normalize(inside_XC / deviation_X1C[:, 0], dim=-1) - F.normalize(
        outside_XC / deviation_X1C[:, 0], dim=-1
    )
    cues_XML = torch.stack(
        [
            like_inside_XL,
            like_outside_XL,
            MARGIN_SCALE * (like_inside_XL - like_outside_XL),
            PROTOTYPE_SCALE * (unit_XLC @ prototype_XC[..., None])[..., 0],
            discriminant(place_XLC, inside_XC, outside_XC, covariance_XCC, variance_XC),
        ],
        1,
    )
    return cues_XML.unflatten(2, (h, w))


def nearness(unit_XLC: Tensor, cells_XTC: Tensor, mass_XT: Tensor) -> Tensor:
    """(X, L): cosine with the nearest cells, softly, each cell counting by its mass."""
    mass_X1T = (mass_XT + LEAST_SHARE).log()[:, None]
    weighed_XLT = torch.baddbmm(mass_X1T, unit_XLC, cells_XTC.transpose(1, 2), alpha=SHARPNESS)
    return torch.logsumexp(weighed_XLT, 2) / SHARPNESS


def discriminant(
    place_XLC: Tensor, inside_XC: Tensor, outside_XC: Tensor, covariance_XCC: Tensor, variance_XC: Tensor
) -> Tensor:
    """(X, L): Fisher's linear discriminant, 0 midway between the two means and about 1/2 at each of them."""
    ridge_X1 = RIDGE * variance_XC.mean(1, keepdim=True) + LEAST_VARIANCE
    solid_XCC = covariance_XCC + torch.diag_embed(ridge_X1.expand_as(variance_XC))
    apart_XC1 = (inside_XC - outside_XC)[..., None]
    direction_XC1 = torch.cholesky_solve(apart_XC1, torch.linalg.cholesky(solid_XCC))
    margin_X1 = (apart_XC1.transpose(1, 2) @ direction_XC1)[:, 0] + LEAST_MARGIN
    midway_X1C = ((inside_XC + outside_XC) / 2)[:, None]
    found_XL = ((place_XLC - midway_X1C) @ direction_XC1)[..., 0] / margin_X1
    return found_XL.clamp(-DISCRIMINANT_LIMIT, DISCRIMINANT_LIMIT)
