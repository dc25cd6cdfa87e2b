"""How the places of a level scatter: what features are centred and scaled by, and what tells two means apart.

Shapes: A pictures, or classes by all places of their shots, G frames, m classes in each, C channels, P places of A,
Q places of a picture, Z places of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Of the mean variance of a level's channels: what is added to each before the discriminant is solved.
RIDGE = 0.1
# Keep quotients finite where a level is constant.
LEAST_DEVIATION, LEAST_VARIANCE = 1e-3, 1e-4
# Rows so many numbers apart contend for the same lines of the cache; a few rows more halve what a factor takes.
CACHE_STRIDE, SPARE_ROWS = 256, 16
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Scatter:
    """Mean and spread of places: their covariance, or themselves about their mean beside one another's products, where
    they are so few that equations among places are fewer than among channels."""

    mean: Tensor  # (A, C)
    spread: Tensor  # (A, C, C), or (A, P, C) with P < C
    products: Tensor  # (A, P, P), empty beside a covariance

    @staticmethod
    def of(map_IChw: Tensor, shots: int = 1) -> Scatter:
        """Of classes with equally many shots each."""
        place_APC = map_IChw.flatten(2).transpose(1, 2).reshape(len(map_IChw) // shots, -1, map_IChw.shape[1])
        mean_AC = place_APC.mean(1)
        return Scatter.about(mean_AC, place_APC - mean_AC[:, None], shots)

    @staticmethod
    def about(mean_AC: Tensor, place_APC: Tensor, shots: int = 1) -> Scatter:
        """Of places about their mean."""
        P, C = place_APC.shape[1:]
        are_few = (shots + 1) * P <= shots * C  # beside those of a picture
        if are_few:
            return Scatter(mean_AC, place_APC, place_APC @ place_APC.transpose(1, 2))
        return Scatter(mean_AC, covariance(place_APC), place_APC.new_empty(len(place_APC), 0, 0))

    def __getitem__(self, rows: Tensor) -> Scatter:
        return Scatter(*(part[rows] for part in self._parts()))

    def to(self, target: torch.device | torch.dtype | str) -> Scatter:
        return Scatter(*(part.to(target) for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.mean, self.spread, self.products

    @staticmethod
    def cat(scatters: Sequence[Scatter]) -> Scatter:
        return Scatter(*(torch.cat(parts) for parts in zip(*(scatter._parts() for scatter in scatters), strict=True)))

    @property
    def lists_places(self) -> bool:
        return self.products.numel() > 0

    @property
    def covariance(self) -> Tensor:
        """(A, C, C)"""
        return covariance(self.spread) if self.lists_places else self.spread


def covariance(place_APC: Tensor) -> Tensor:
    """(A, C, C), of which only what stands on the diagonal and to its left counts: the rest is not made."""
    A, P, C = place_APC.shape
    found_ACC = place_APC.new_zeros(A, C, C)
    for start in range(0, C, ROWS_AT_ONCE):
        end = min(C, start + ROWS_AT_ONCE)
        found_ACC[:, start:end, :end] = place_APC[..., start:end].transpose(1, 2) @ place_APC[..., :end] / P
    return found_ACC


@dataclass(frozen=True)
class Frame:
    """What features are compared in. On a uniform surface everything is alike, unless it is centred and scaled by what
    the pictures at hand show."""

    centre: Tensor  # (G, C)
    deviation: Tensor  # (G, C)
    directions: Callable[[Tensor], Tensor]
    """(G, C, m) that tell means apart by Fisher's discriminant, from their differences (G, C, m)."""

    @staticmethod
    def of(pictures: Scatter, centred_ACP: Tensor) -> Frame:
        """One for each picture, by its own places."""
        C, P = centred_ACP.shape[1:]
        if P < C:
            place_APC = centred_ACP.transpose(1, 2)
            products_APP = pictures.products if pictures.lists_places else place_APC @ centred_ACP
            return _of_places(pictures.mean, place_APC / P**0.5, products_APP / P)
        return _of_covariance(pictures.mean, pictures.covariance)

    @staticmethod
    def between(pictures: Scatter, classes: Scatter) -> Frame:
        """One for each picture and class, half by either's places; the classes of a picture follow one another."""
        classes_each = len(classes.mean) // len(pictures.mean)
        picture_mean_GC = pictures.mean.repeat_interleave(classes_each, dim=0)
        centre_GC, away_GC = (classes.mean + picture_mean_GC) / 2, (classes.mean - picture_mean_GC) / 2
        if pictures.lists_places and classes.lists_places:
            asked_GQC = pictures.spread.repeat_interleave(classes_each, dim=0) - away_GC[:, None]
            shown_GPC = classes.spread + away_GC[:, None]
            asked_GQC, shown_GPC = (place_GPC / (2 * place_GPC.shape[1]) ** 0.5 for place_GPC in (asked_GQC, shown_GPC))
            across_GQP = asked_GQC @ shown_GPC.transpose(1, 2)
            # The products of what was shown are at hand, about another centre.
            along_GP1 = classes.spread @ away_GC[..., None]
            moved_GPP = along_GP1 + along_GP1.transpose(1, 2) + away_GC.square().sum(1)[:, None, None]
            products_GPP = (classes.products + moved_GPP) / (2 * shown_GPC.shape[1])
            upper_GQZ = torch.cat([asked_GQC @ asked_GQC.transpose(1, 2), across_GQP], 2)
            products_GZZ = torch.cat([upper_GQZ, torch.cat([across_GQP.transpose(1, 2), products_GPP], 2)], 1)
            return _of_places(centre_GC, torch.cat([asked_GQC, shown_GPC], 1), products_GZZ)
        within_GCC = classes.covariance + pictures.covariance.repeat_interleave(classes_each, dim=0)
        return _of_covariance(centre_GC, torch.baddbmm(within_GCC, away_GC[..., None], away_GC[:, None], beta=0.5))


def _of_covariance(centre_GC: Tensor, covariance_GCC: Tensor) -> Frame:
    variance_GC = covariance_GCC.diagonal(dim1=1, dim2=2).clamp_min(0)
    return Frame(centre_GC, _deviation(variance_GC), solver(covariance_GCC, _ridge(variance_GC)))


def _of_places(centre_GC: Tensor, place_GZC: Tensor, products_GZZ: Tensor) -> Frame:
    """The same by as many equations as there are places (Woodbury); places weigh as much as makes a covariance."""
    variance_GC = place_GZC.square().sum(1)
    ridge_G1 = _ridge(variance_GC)
    solved = solver(products_GZZ, ridge_G1)

    def directions(apart_GCm: Tensor) -> Tensor:
        return (apart_GCm - place_GZC.transpose(1, 2) @ solved(place_GZC @ apart_GCm)) / ridge_G1[..., None]

    return Frame(centre_GC, _deviation(variance_GC), directions)


def solver(matrix_GCC: Tensor, ridge_G1: Tensor) -> Callable[[Tensor], Tensor]:
    """What equations with the matrix and a ridge on its diagonal have as their solutions."""
    C = matrix_GCC.shape[1]
    spare = SPARE_ROWS if C % CACHE_STRIDE == 0 else 0
    solid_GCC = F.pad(matrix_GCC, (0, spare, 0, spare)) if spare else matrix_GCC.clone()
    diagonal_GC = solid_GCC.diagonal(dim1=1, dim2=2)
    diagonal_GC[:, :C] += ridge_G1
    diagonal_GC[:, C:] = 1
    factor_GCC = torch.linalg.cholesky(solid_GCC)
    return lambda some_GCm: torch.cholesky_solve(F.pad(some_GCm, (0, 0, 0, spare)), factor_GCC)[:, :C]


def _ridge(variance_GC: Tensor) -> Tensor:
    """(G, 1)"""
    return RIDGE * variance_GC.mean(1, keepdim=True) + LEAST_VARIANCE


def _deviation(variance_GC: Tensor) -> Tensor:
    return variance_GC.sqrt() + LEAST_DEVIATION
