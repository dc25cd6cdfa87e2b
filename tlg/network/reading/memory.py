"""What is kept of a class's exemplars at one level of the pyramid: cells inside and outside their masks, and moments.

Shapes: A classes, K shots, I = A * K exemplar images, T cells, C channels, h x w a map's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Every place counts at least this much, so that a cell without any of the mask is the plain mean of its places.
LEAST_MASS = 1e-4
# Keeps shares finite where a mask is empty.
TINY = 1e-6


@dataclass(frozen=True)
class LevelMemory:
    """One level of A classes. Masses are shares: those of a class sum to 1 inside and to 1 outside."""

    inside: Tensor  # (A, T, C) means of cells, each place weighed by how much of it is the class
    outside: Tensor  # (A, T, C)
    inside_mass: Tensor  # (A, T)
    outside_mass: Tensor  # (A, T)
    mean: Tensor  # (A, C) of all places of all shots
    second: Tensor  # (A, C, C) mean of outer products

    def __getitem__(self, rows: Tensor) -> LevelMemory:
        return LevelMemory(*(part[rows] for part in self._parts()))

    def to(self, target: torch.device | torch.dtype | str) -> LevelMemory:
        return LevelMemory(*(part.to(target) for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.inside, self.outside, self.inside_mass, self.outside_mass, self.mean, self.second

    @staticmethod
    def cat(memories: Sequence[LevelMemory]) -> LevelMemory:
        return LevelMemory(*(torch.cat(parts) for parts in zip(*(memory._parts() for memory in memories), strict=True)))


def remember(map_IChw: Tensor, inside_AKhw: Tensor, outside_AKhw: Tensor, side: int) -> LevelMemory:
    """The memory of one level; masses may lie on any grid at least as fine as the map's."""
    A, K = inside_AKhw.shape[:2]
    inside, inside_mass = cells(map_IChw, at_grid_of(map_IChw, inside_AKhw), side, A)
    outside, outside_mass = cells(map_IChw, at_grid_of(map_IChw, outside_AKhw), side, A)
    mean, second = moments(map_IChw)
    return LevelMemory(
        inside,
        outside,
        shares(inside_mass),
        shares(outside_mass),
        mean.unflatten(0, (A, K)).mean(1),
        second.unflatten(0, (A, K)).mean(1),
    )


def at_grid_of(map_IChw: Tensor, mass_AKhw: Tensor) -> Tensor:
    """(I, 1, h, w)"""
    return F.adaptive_avg_pool2d(mass_AKhw.flatten(0, 1)[:, None], (map_IChw.shape[-2], map_IChw.shape[-1]))


def cells(map_IChw: Tensor, mass_I1hw: Tensor, side: int, classes: int) -> tuple[Tensor, Tensor]:
    """Weighted means (A, T, C) in the cells of a side x side grid of every shot, and the cells' masses (A, T)."""
    mass_I1ss = F.adaptive_avg_pool2d(mass_I1hw, side)
    mean_ICss = F.adaptive_avg_pool2d(map_IChw * (mass_I1hw + LEAST_MASS), side) / (mass_I1ss + LEAST_MASS)
    tokens_ITC = mean_ICss.flatten(2).transpose(1, 2)
    return tokens_ITC.reshape(classes, -1, tokens_ITC.shape[-1]), mass_I1ss.reshape(classes, -1)


def shares(mass_AT: Tensor) -> Tensor:
    return mass_AT / (mass_AT.sum(1, keepdim=True) + TINY)


def moments(map_IChw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (I, C) and mean outer product (I, C, C) over an image's places."""
    places_ICL = map_IChw.flatten(2)
    return places_ICL.mean(2), torch.bmm(places_ICL, places_ICL.transpose(1, 2)) / places_ICL.shape[2]
