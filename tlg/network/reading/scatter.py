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
ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class Scatter:
    """Mean and spread of places: their covariance, or themselves about their mean beside one another's products, where
    they are so few that equations among places are fewer than among channels."""

    mean: Tensor  # (A, C)
    variance: Tensor  # (A, C)
    spread: Tensor  # (A, C, C), or (A, P, C) with P < C
    products: Tensor  # (A, P, P), empty beside a covariance

    @staticmethod
    def of(map_IChw: Tensor, shots: int = 1) -> Scatter:
        """Of classes with equally many shots each."""
        place_APC = map_IChw.flatten(2).transpose(1, 2).reshape(len(map_IChw) // shots, -1, map_IChw.shape[1])
        mean_AC = place_APC.mean(1)
        place_APC = place_APC - mean_AC[:, None]
        return Scatter.about(mean_AC, place_APC.square().mean(1), place_APC, shots)

    @staticmethod
    def about(mean_AC: Tensor, variance_AC: Tensor, place_APC: Tensor, shots: int = 1) -> Scatter:
        """Of places about their mean."""
        P, C = place_APC.shape[1:]
        are_few = (shots + 1) * P <= shots * C  # beside those of a picture
        if are_few:
            return Scatter(mean_AC, variance_AC, place_APC, products(place_APC))
        return Scatter(mean_AC, variance_AC, covariance(place_APC), place_APC.new_empty(len(place_APC), 0, 0))

    def products_about(self, away_AC: Tensor) -> Tensor:
        """(A, P, P): products of listed places from which their mean is so far away."""
        along_AP1 = self.spread @ away_AC[..., None]
        return self.products + (along_AP1 + along_AP1.transpose(1, 2) + away_AC.square().sum(1)[:, None, None])

    def __getitem__(self, rows: Tensor) -> Scatter:
        return Scatter(*(part[rows] for part in self._parts()))

    def repeated(self, times: int) -> Scatter:
        return self if times == 1 else Scatter(*(part.repeat_interleave(times, dim=0) for part in self._parts()))

    def to(self, target: torch.device | torch.dtype | str) -> Scatter:
        return Scatter(*(part.to(target) for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.mean, self.variance, self.spread, self.products

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
    """(A, C, C), of which only what stands on the diagonal and to its left counts."""
    return products(place_APC.transpose(1, 2)).div_(place_APC.shape[1])


def products(some_ARC: Tensor) -> Tensor:
    """(A, R, R), of which only what stands on the diagonal and to its left counts: the rest is not made."""
    A, R, _ = some_ARC.shape
    if R <= ROWS_AT_ONCE:
        return some_ARC @ some_ARC.transpose(1, 2)
    found_ARR = some_ARC.new_zeros(A, R, R)
    for start in range(0, R, ROWS_AT_ONCE):
        rows, before = slice(start, start + ROWS_AT_ONCE), slice(start + ROWS_AT_ONCE)
        found_ARR[:, rows, before] = some_ARC[:, rows] @ some_ARC[:, before].transpose(1, 2)
    return found_ARR


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
            products_APP = pictures.products if pictures.lists_places else products(place_APC)
            return _of_places(pictures.mean, pictures.variance, place_APC / P**0.5, products_APP / P)
        return _of_covariance(pictures.mean, pictures.variance, pictures.covariance)

    @staticmethod
    def between(pictures: Scatter, classes: Scatter) -> Frame:
        """One for each picture and class, half by either's places; the classes of a picture follow one another."""
        asked = pictures.repeated(len(classes.mean) // len(pictures.mean))
        centre_GC, away_GC = (classes.mean + asked.mean) / 2, (classes.mean - asked.mean) / 2
        variance_GC = (classes.variance + asked.variance) / 2 + away_GC.square()
        if asked.lists_places and classes.lists_places:
            Q, P = asked.spread.shape[1], classes.spread.shape[1]
            # Halves are weighed by their numbers of places, so that both count alike.
            asked_GQC = (asked.spread - away_GC[:, None]) / (2 * Q) ** 0.5
            shown_GPC = (classes.spread + away_GC[:, None]) / (2 * P) ** 0.5
            # Only what stands on the diagonal and to its left counts.
            above_GQZ = F.pad(asked.products_about(-away_GC) / (2 * Q), (0, P))
            below_GPZ = torch.cat([shown_GPC @ asked_GQC.transpose(1, 2), classes.products_about(away_GC) / (2 * P)], 2)
            place_GZC = torch.cat([asked_GQC, shown_GPC], 1)
            return _of_places(centre_GC, variance_GC, place_GZC, torch.cat([above_GQZ, below_GPZ], 1))
        within_GCC = classes.covariance + asked.covariance
        within_GCC.baddbmm_(away_GC[..., None], away_GC[:, None], beta=0.5)
        return _of_covariance(centre_GC, variance_GC, within_GCC)


def _of_covariance(centre_GC: Tensor, variance_GC: Tensor, covariance_GCC: Tensor) -> Frame:
    return Frame(centre_GC, _deviation(variance_GC), solver(covariance_GCC, _ridge(variance_GC)))


def _of_places(centre_GC: Tensor, variance_GC: Tensor, place_GZC: Tensor, products_GZZ: Tensor) -> Frame:
    """The same by as many equations as there are places (Woodbury); places weigh as much as makes a covariance."""
    ridge_G1 = _ridge(variance_GC)
    solved = solver(products_GZZ, ridge_G1)

    def directions(apart_GCm: Tensor) -> Tensor:
        return (apart_GCm - place_GZC.transpose(1, 2) @ solved(place_GZC @ apart_GCm)) / ridge_G1[..., None]

    return Frame(centre_GC, _deviation(variance_GC), directions)


def solver(matrix_GCC: Tensor, ridge_G1: Tensor) -> Callable[[Tensor], Tensor]:
    """What equations with the matrix and a ridge on its diagonal have as their solutions."""
    C = matrix_GCC.shape[1]
    spare = SPARE_ROWS if C % CACHE_STRIDE == 0 else 0
    solid_GCC = matrix_GCC.new_empty(len(matrix_GCC), C + spare, C + spare)
    solid_GCC[:, :C, :C] = matrix_GCC
    solid_GCC[:, C:] = 0
    diagonal_GC = solid_GCC.diagonal(dim1=1, dim2=2)
    diagonal_GC[:, :C] += ridge_G1
    diagonal_GC[:, C:] = 1
    factor_GCC, _ = torch.linalg.cholesky_ex(solid_GCC)  # a ridge makes it positive
    return lambda some_GCm: torch.cholesky_solve(F.pad(some_GCm, (0, 0, 0, spare)), factor_GCC)[:, :C]


def _ridge(variance_GC: Tensor) -> Tensor:
    """(G, 1)"""
    return RIDGE * variance_GC.mean(1, keepdim=True) + LEAST_VARIANCE


def _deviation(variance_GC: Tensor) -> Tensor:
    return variance_GC.sqrt() + LEAST_DEVIATION
