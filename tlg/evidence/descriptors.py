"""One short descriptor per location from the deep end of a feature pyramid.

Shapes: B images, C channels, D descriptor width, h x w a grid of locations, L = h * w of them, T sampled tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.features import Features

DESCRIPTOR_WIDTH = 128
# Bounds the cost on large inputs: a finer grid is pooled down to this many rows and columns.
MAX_GRID = 32
# Locations that a space is fitted on; more change nothing that was measured.
FIT_TOKENS = 8192
# Of subspace iteration.
ROUNDS = 4


@dataclass(frozen=True)
class Described:
    """Unit descriptors of a batch of images on a fine grid and on one half as fine."""

    fine: Tensor  # (B, D, h, w)
    coarse: Tensor  # (B, D, h/2, w/2)

    def __len__(self) -> int:
        return self.fine.shape[0]

    def __getitem__(self, rows: list[int]) -> Described:
        return Described(self.fine[rows], self.coarse[rows])

    @staticmethod
    def gathered(parts: Iterable[Described], count: int) -> Described:
        """`count` images that come one by one, written to their place: no second copy of all is ever there."""
        fine, coarse = torch.empty(0), torch.empty(0)
        for row, part in enumerate(parts):
            if not row:
                fine, coarse = (plane.new_empty((count, *plane.shape[1:])) for plane in (part.fine, part.coarse))
            fine[row], coarse[row] = part.fine[0], part.coarse[0]
        return Described(fine, coarse)


@dataclass(frozen=True)
class DescriptorSpace:
    """Centre, normalise and project each chosen map, then add them up on one grid.

    `chosen` indexes the pyramid. The projection keeps the directions in which the fitted images vary most.
    """

    chosen: tuple[int, ...]
    means: tuple[Tensor, ...]  # (C,) each
    projections: tuple[Tensor, ...]  # (C, D) each

    @staticmethod
    def fit(batches: Sequence[Features], width: int = DESCRIPTOR_WIDTH) -> DescriptorSpace:
        chosen = deep_maps(batches[0].maps)
        per_image = max(1, FIT_TOKENS // sum(len(batch) for batch in batches))
        columns, means = [], []
        for index in chosen:
            tokens_TC = torch.cat(
                [spread_tokens(batch.maps[index].float(), per_image).flatten(0, 1) for batch in batches]
            )
            means.append(tokens_TC.mean(0))
            columns.append(F.normalize(tokens_TC - means[-1], dim=1))
        # The maps are of different grids, so their tokens do not align: each map gets its own share of the width,
        # along its own principal directions, and the widths stay apart.
        widths = _shares(width, [column.shape[1] for column in columns])
        offsets = [sum(widths[:k]) for k in range(len(widths))]
        projections = []
        for column_TC, share, offset in zip(columns, widths, offsets, strict=True):
            basis_CD = column_TC.new_zeros(column_TC.shape[1], sum(widths))
            basis_CD[:, offset : offset + share] = principal_directions(column_TC, share)
            projections.append(basis_CD)
        return DescriptorSpace(chosen, tuple(means), tuple(projections))

    def describe(self, features: Features) -> Described:
        grids = [features.maps[index].shape[-2:] for index in self.chosen]
        fine = (min(MAX_GRID, max(h for h, _ in grids)), min(MAX_GRID, max(w for _, w in grids)))
        total_BDhw: Tensor | float = 0.0
        for index, mean_C, projection_CD in zip(self.chosen, self.means, self.projections, strict=True):
            map_BChw = features.maps[index].float() - mean_C.to(features.maps[index].device)[:, None, None]
            map_BChw = F.normalize(map_BChw, dim=1)
            map_BDhw = torch.einsum("bchw,cd->bdhw", map_BChw, projection_CD.to(map_BChw.device))
            total_BDhw = total_BDhw + _resized(map_BDhw, fine)
        assert isinstance(total_BDhw, Tensor)
        coarse = ((fine[0] + 1) // 2, (fine[1] + 1) // 2)
        return Described(F.normalize(total_BDhw, dim=1), F.normalize(F.adaptive_avg_pool2d(total_BDhw, coarse), dim=1))


def deep_maps(maps: Sequence[Tensor]) -> tuple[int, ...]:
    """The last map of the second-deepest grid and up to three of the deepest: semantics with some resolution.

    Maps that were left out (`without_shallow_maps`) have no places; a plain transformer has none of a finer grid.
    """
    grids = [tuple(plane.shape[-2:]) for plane in maps]
    deepest = [index for index, grid in enumerate(grids) if grid == grids[-1]]
    finer = [index for index, grid in enumerate(grids) if grid != grids[-1] and 0 not in grid]
    return (*finer[-1:], *deepest[-3:])


def principal_directions(tokens_TC: Tensor, width: int) -> Tensor:
    """(C, width) orthonormal, by subspace iteration from a fixed start: cheap for wide maps, and always the same."""
    start = torch.randn(tokens_TC.shape[1], width, generator=torch.Generator().manual_seed(0))
    basis_CD = torch.linalg.qr(start.to(tokens_TC))[0]
    for _ in range(ROUNDS):
        basis_CD = torch.linalg.qr(tokens_TC.T @ (tokens_TC @ basis_CD))[0]
    return basis_CD


def _shares(width: int, channels: list[int]) -> list[int]:
    return [min(count, width // len(channels)) for count in channels]


def spread_tokens(map_BChw: Tensor, count: int) -> Tensor:
    """(B, T, C): at most `count` locations of every image, evenly spread."""
    tokens_BLC = map_BChw.flatten(2).transpose(1, 2)
    locations = tokens_BLC.shape[1]
    if locations <= count:
        return tokens_BLC
    # Multiples of the golden ratio: an even stride would walk down a column.
    spread = (torch.arange(count, dtype=torch.float64) * 0.6180339887498949 + 0.5) % 1.0
    return tokens_BLC[:, (spread * locations).long().to(tokens_BLC.device)]


def _resized(map_BDhw: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(map_BDhw.shape[-2:]) == grid:
        return map_BDhw
    if map_BDhw.shape[-2] > grid[0] or map_BDhw.shape[-1] > grid[1]:
        return F.adaptive_avg_pool2d(map_BDhw, grid)
    return F.interpolate(map_BDhw, size=grid, mode="bilinear", align_corners=False)
