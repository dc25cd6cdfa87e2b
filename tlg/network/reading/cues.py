"""Closed-form evidence of one level: how a query's places relate to what was shown, and to what surrounded it.

Nothing here is learnt and nothing but relations comes out, so that what merely stands out in a picture cannot answer.

Shapes: B pictures, X pairs of picture and class, G frames with m = X / G classes in each, C channels, h x w the level's
grid, L = h * w, T cells of the exemplars, R what places are compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.reading.memory import Cells
from tlg.network.reading.scatter import Frame, Scatter

CUES = 5
# How sharply the nearest cells outweigh the others: a factor on cosines.
SHARPNESS = 20.0
# A cell without mass counts as this much of the whole, so that a logarithm stays finite where none has any.
LEAST_SHARE = 1e-7
# Keep quotients finite where a level is constant.
LEAST_MARGIN, LEAST_LENGTH = 1e-3, 1e-12
# Brings the cues to a like range.
MARGIN_SCALE, PROTOTYPE_SCALE, DISCRIMINANT_LIMIT = 5.0, 2.0, 3.0


@dataclass(frozen=True)
class Places:
    """A query's places at one level, about their mean."""

    mean: Tensor  # (B, C)
    centred: Tensor  # (B, C, L)
    squared: Tensor  # (B, C, L)
    grid: tuple[int, int]

    @staticmethod
    def of(map_BChw: Tensor) -> Places:
        map_BCL = map_BChw.flatten(2)
        mean_BC = map_BCL.mean(2)
        centred_BCL = map_BCL - mean_BC[..., None]
        return Places(mean_BC, centred_BCL, centred_BCL.square(), (map_BChw.shape[2], map_BChw.shape[3]))

    @property
    def scatter(self) -> Scatter:
        return Scatter.about(self.mean, self.squared.mean(2), self.centred.transpose(1, 2))

    def products(self, some_GRC: Tensor) -> Tensor:
        """(G, R, L); frames of a picture follow one another."""
        return _products(some_GRC, self.centred)

    def lengths(self, offset_GC: Tensor, weight_GC: Tensor) -> Tensor:
        """(G, 1, L) of places whose channels are moved and weighed."""
        square_GC = weight_GC.square()
        found_G1L = _products(square_GC[:, None], self.squared)
        found_G1L += _products((-2 * square_GC * offset_GC)[:, None], self.centred)
        found_G1L += (square_GC * offset_GC.square()).sum(1)[:, None, None]
        return found_G1L.clamp_min_(0).sqrt_().clamp_min_(LEAST_LENGTH)


def _products(some_GRC: Tensor, place_BCL: Tensor) -> Tensor:
    B = len(place_BCL)
    return (some_GRC.reshape(B, -1, some_GRC.shape[2]) @ place_BCL).view(*some_GRC.shape[:2], -1)


def level_cues(places: Places, frame: Frame, cells: Cells) -> Tensor:
    """(X, CUES, h, w): likeness to the nearest cells inside, outside, their difference, prototypes, a discriminant.

    Pairs of a picture follow one another, and so do frames: one for each pair, or one for all pairs of a picture."""
    G = len(frame.centre)
    weight_GC = 1 / frame.deviation
    offset_GC = frame.centre - places.mean.repeat_interleave(G // len(places.mean), dim=0)
    mass_Gm2T = cells.mass.unflatten(0, (G, -1))
    m, _, T = mass_Gm2T.shape[1:]
    scaled_GtC = (cells.means.view(G, m * 2 * T, -1) - frame.centre[:, None]) * weight_GC[:, None]
    mean_Gm2C = (mass_Gm2T[..., None, :] @ scaled_GtC.unflatten(1, (m, 2, T)))[..., 0, :]
    prototype_GmC = torch.sub(*F.normalize(mean_Gm2C, dim=-1).unbind(2))
    direction_GmC, midway_Gm1, margin_Gm1 = discriminant(mean_Gm2C, frame)
    # Everything in one product, moved to the frame's centre afterwards: places need not be copied for every frame.
    unit_GtC = F.normalize(scaled_GtC, dim=-1).mul_(SHARPNESS)
    asked_GRC = torch.cat([unit_GtC, PROTOTYPE_SCALE * prototype_GmC, direction_GmC], 1).mul_(weight_GC[:, None])
    found_GRL = places.products(asked_GRC).sub_(asked_GRC @ offset_GC[..., None])
    found_GRL[:, :-m] /= places.lengths(offset_GC, weight_GC)
    like_GtL, prototype_GmL, apart_GmL = found_GRL.split([2 * m * T, m, m], dim=1)
    near_Gm2L = nearness(like_GtL.unflatten(1, (m, 2, T)), mass_Gm2T)
    cues_GmML = torch.cat(
        [
            near_Gm2L,
            MARGIN_SCALE * (near_Gm2L[:, :, :1] - near_Gm2L[:, :, 1:]),
            prototype_GmL[:, :, None],
            ((apart_GmL - midway_Gm1) / margin_Gm1).clamp_(-DISCRIMINANT_LIMIT, DISCRIMINANT_LIMIT)[:, :, None],
        ],
        2,
    )
    return cues_GmML.flatten(0, 1).unflatten(2, places.grid)


def nearness(like_Gm2TL: Tensor, mass_Gm2T: Tensor) -> Tensor:
    """(G, m, 2, L): cosine with the nearest cells, softly, each cell counting by its mass."""
    # Cosines are bounded, and so are their exponentials: no greatest has to be taken out first.
    weighed_Gm21L = (mass_Gm2T + LEAST_SHARE)[..., None, :] @ like_Gm2TL.exp_()
    return weighed_Gm21L[..., 0, :].log() / SHARPNESS


def discriminant(mean_Gm2C: Tensor, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """Fisher's linear discriminant of scaled means: direction (G, m, C), its value midway between the two means, and
    what it is divided by to be about 1/2 at each of them, (G, m, 1)."""
    apart_GmC, midway_GmC = torch.sub(*mean_Gm2C.unbind(2)), mean_Gm2C.mean(2)
    deviation_G1C = frame.deviation[:, None]
    direction_GmC = frame.directions((apart_GmC * deviation_G1C).transpose(1, 2)).transpose(1, 2) * deviation_G1C
    midway_Gm1 = (midway_GmC * direction_GmC).sum(2, keepdim=True)
    return direction_GmC, midway_Gm1, (apart_GmC * direction_GmC).sum(2, keepdim=True) + LEAST_MARGIN
