"""What is kept of a class's exemplars at one level of the pyramid: cells inside and outside their masks, and scatter.

Shapes: A classes, K shots, I = A * K exemplar images, X pairs of picture and class, T cells, C channels, h x w a map's
grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.reading.scatter import Scatter

# Every place counts at least this much, so that a cell without any of the mask is the plain mean of its places.
LEAST_MASS = 1e-4
# Keeps shares finite where a mask is empty.
TINY = 1e-6


@dataclass(frozen=True)
class Cells:
    """Of A classes. Masses are shares: those of a class sum to 1 inside and to 1 outside."""

    inside: Tensor  # (A, T, C) means of cells, each place weighed by how much of it is the class
    outside: Tensor  # (A, T, C)
    inside_mass: Tensor  # (A, T)
    outside_mass: Tensor  # (A, T)

    def __getitem__(self, rows: Tensor) -> Cells:
        return Cells(*(part[rows] for part in self._parts()))

    def to(self, target: torch.device | torch.dtype | str) -> Cells:
        return Cells(*(part.to(target) for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.inside, self.outside, self.inside_mass, self.outside_mass

    @staticmethod
    def cat(some: Sequence[Cells]) -> Cells:
        return Cells(*(torch.cat(parts) for parts in zip(*(cells._parts() for cells in some), strict=True)))


@dataclass(frozen=True)
class LevelMemory:
    """One level of A classes."""

    cells: Cells
    scatter: Scatter

    def __getitem__(self, rows: Tensor) -> LevelMemory:
        return LevelMemory(self.cells[rows], self.scatter[rows])

    def to(self, target: torch.device | torch.dtype | str) -> LevelMemory:
        return LevelMemory(self.cells.to(target), self.scatter.to(target))

    @staticmethod
    def cat(memories: Sequence[LevelMemory]) -> LevelMemory:
        return LevelMemory(
            Cells.cat([memory.cells for memory in memories]), Scatter.cat([memory.scatter for memory in memories])
        )


def remember(map_IChw: Tensor, inside_AKhw: Tensor, outside_AKhw: Tensor, side: int) -> LevelMemory:
    """The memory of one level; masses may lie on any grid at least as fine as the map's."""
    return LevelMemory(
        cells_of(map_IChw, inside_AKhw, outside_AKhw, side), Scatter.of(map_IChw, shots=inside_AKhw.shape[1])
    )


def cells_of(map_IChw: Tensor, inside_AKhw: Tensor, outside_AKhw: Tensor, side: int) -> Cells:
    """Where there are more masses than maps, those of a map follow one another."""
    (inside, inside_mass), (outside, outside_mass) = (
        _pooled(map_IChw, mass_AKhw, side) for mass_AKhw in (inside_AKhw, outside_AKhw)
    )
    return Cells(inside, outside, _shares(inside_mass), _shares(outside_mass))


def _pooled(map_IChw: Tensor, mass_AKhw: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Weighted means (A, T, C) in the cells of a side x side grid of every shot, and the cells' masses (A, T)."""
    I, C, h, w = map_IChw.shape
    mass_X1L = F.adaptive_avg_pool2d(mass_AKhw.flatten(0, 1)[:, None], (h, w)).flatten(2)
    share_TL = cell_shares(h, w, side, map_IChw.device)
    mass_X1T = mass_X1L @ share_TL.T
    weight_XTL = share_TL * (mass_X1L + LEAST_MASS)
    sum_ItC = weight_XTL.reshape(I, -1, h * w) @ map_IChw.flatten(2).transpose(1, 2)
    mean_XTC = sum_ItC.reshape(len(mass_X1L), -1, C) / (mass_X1T.transpose(1, 2) + LEAST_MASS)
    return mean_XTC.reshape(len(mass_AKhw), -1, C), mass_X1T.reshape(len(mass_AKhw), -1)


@lru_cache(maxsize=64)
def cell_shares(h: int, w: int, side: int, device: torch.device) -> Tensor:
    """(T, L): by how much each place counts in the mean of each cell, as adaptive pooling has it."""
    rows_sh, columns_sw = (
        F.adaptive_avg_pool1d(torch.eye(length, device=device)[None], side)[0].T for length in (h, w)
    )
    return torch.einsum("ah,bw->abhw", rows_sh, columns_sw).flatten(2).flatten(0, 1)


def _shares(mass_AT: Tensor) -> Tensor:
    return mass_AT / (mass_AT.sum(1, keepdim=True) + TINY)
