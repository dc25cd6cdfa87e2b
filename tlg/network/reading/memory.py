"""What is kept of a class's exemplars at one level of the pyramid: cells inside and outside their masks, and scatter.

Shapes: A classes, K shots, I = A * K exemplar images, X masses, R = X / I * S, S cells of a row, T = S * S, C channels,
h x w a map's grid.
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
    mass_X1hw = F.adaptive_avg_pool2d(mass_AK2hw.flatten(0, 2)[:, None], (h, w))
    rows_Sh, columns_Sw = (cell_shares(length, side, map_IChw.device) for length in (h, w))
    # Row by row, then over the rows: a place counts in few cells, and in none of the others need it be multiplied.
    weight_Ih1Sw = (mass_X1hw + LEAST_MASS).view(I, -1, h, 1, w).transpose(1, 2) * columns_Sw
    sum_IhRC = weight_Ih1Sw.flatten(2, 3) @ map_IChw.permute(0, 2, 3, 1)
    sum_ISRC = (rows_Sh @ sum_IhRC.flatten(2)).view(I, side, -1, C)
    sum_XTC = sum_ISRC.unflatten(2, (-1, side)).transpose(1, 2).reshape(len(mass_X1hw), side * side, C)
    mass_XT = (rows_Sh @ mass_X1hw[:, 0] @ columns_Sw.T).flatten(1)
    mean_XTC = sum_XTC / (mass_XT + LEAST_MASS)[..., None]
    means_AK2TC = mean_XTC.unflatten(0, (A, -1, 2))
    mass_A2T = mass_XT.view(A, -1, 2, side * side).transpose(1, 2).flatten(2)
    return Cells(means_AK2TC.transpose(1, 2).flatten(2, 3), mass_A2T / (mass_A2T.sum(2, keepdim=True) + TINY))


@lru_cache(maxsize=64)
def cell_shares(length: int, side: int, device: torch.device) -> Tensor:
    """(S, length): by how much each place counts in the mean of each of so many cells in a row, as adaptive pooling
    has it."""
    return F.adaptive_avg_pool1d(torch.eye(length, device=device)[None], side)[0].T
