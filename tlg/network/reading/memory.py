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
    """Inside and outside of A classes. Masses are shares: those of a class sum to 1 inside and to 1 outside."""

    means: Tensor  # (A, 2, T, C), each place weighed by how much of it is the class, or is not
    mass: Tensor  # (A, 2, T)

    def __getitem__(self, rows: Tensor) -> Cells:
        return Cells(self.means[rows], self.mass[rows])

    def to(self, target: torch.device | torch.dtype | str) -> Cells:
        return Cells(self.means.to(target), self.mass.to(target))

    @staticmethod
    def cat(some: Sequence[Cells]) -> Cells:
        return Cells(torch.cat([cells.means for cells in some]), torch.cat([cells.mass for cells in some]))


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
    """Of a side x side grid of every shot. Where there are more masses than maps, those of a map follow one another."""
    (I, C, h, w), A = map_IChw.shape, len(inside_AKhw)
    mass_AK2hw = torch.stack([inside_AKhw, outside_AKhw], 2)
    mass_X1L = F.adaptive_avg_pool2d(mass_AK2hw.flatten(0, 2)[:, None], (h, w)).flatten(2)
    share_TL = cell_shares(h, w, side, map_IChw.device)
    weight_XTL = share_TL * (mass_X1L + LEAST_MASS)
    sum_ItC = weight_XTL.reshape(I, -1, h * w) @ map_IChw.flatten(2).transpose(1, 2)
    mass_X1T = mass_X1L @ share_TL.T
    mean_XTC = sum_ItC.reshape(len(mass_X1L), -1, C) / (mass_X1T.transpose(1, 2) + LEAST_MASS)
    means_AK2TC = mean_XTC.unflatten(0, (A, -1, 2))
    mass_A2T = mass_X1T.view(A, -1, 2, side * side).transpose(1, 2).flatten(2)
    return Cells(means_AK2TC.transpose(1, 2).flatten(2, 3), mass_A2T / (mass_A2T.sum(2, keepdim=True) + TINY))


@lru_cache(maxsize=64)
def cell_shares(h: int, w: int, side: int, device: torch.device) -> Tensor:
    """(T, L): by how much each place counts in the mean of each cell, as adaptive pooling has it."""
    rows_sh, columns_sw = (
        F.adaptive_avg_pool1d(torch.eye(length, device=device)[None], side)[0].T for length in (h, w)
    )
    return torch.einsum("ah,bw->abhw", rows_sh, columns_sw).flatten(2).flatten(0, 1)
