"""HA for photographs: both branches read every map, with their own eyes, and also say where any object is.

Shapes: B images, C channels, D width, H x W the working grid (the middle level's), h x w the finest level's grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone
from tlg.network.repaired.aggregation import BRANCHES, Branch, Visual
from tlg.network.repaired.correlation import resized

# Whole channels are dropped in training: novel classes must not hang on a few channels of the base ones.
CHANNEL_DROPOUT = 0.2
NORM_GROUPS = 4
SCALE_FLOOR = 1e-5


class DeepAggregation(nn.Module):
    """Reads every map and keeps its magnitudes, which tell what stands out.

    Shallow levels are reduced further than deep ones: what they add beyond edges and colours is soon learnt by heart.
    """

    def __init__(self, backbone: Backbone, width: int, residual: bool) -> None:
        """`residual`: whether the transport, which reads it, follows."""
        super().__init__()
        self.levels = backbone.levels
        kept = {index: width >> (2 - min(2, depth)) for depth, level in enumerate(self.levels) for index in level}
        self.reduce = nn.ModuleDict(
            {
                branch: nn.ModuleList(nn.Conv2d(backbone.channels[index], kept[index], 1) for index in sorted(kept))
                for branch in BRANCHES
            }
        )
        low = sum(kept[index] for index in self.levels[0])
        self.final_cat = nn.Sequential(
            nn.Conv2d(sum(kept.values()), width, 1, bias=False),
            nn.GroupNorm(NORM_GROUPS, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(NORM_GROUPS, width),
            nn.ReLU(),
        )
        self.drop = nn.Dropout2d(CHANNEL_DROPOUT)
        self.residual = nn.Conv2d(low, width, 1) if residual else None
        self.skip = nn.Conv2d(low, width // 4, 1)
        self.objectness = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, maps: Sequence[Tensor], branch: Branch) -> Visual:
        reduced = [
            self.drop(reduce(of_unit_scale(plane)))
            for reduce, plane in zip(self.reduce[branch], maps, strict=True)  # type: ignore[call-overload]
        ]
        finest, middle = self.levels[0], self.levels[1]
        low = torch.cat([reduced[index] for index in finest], dim=1)
        grid = reduced[middle[-1]].shape[-2:]
        above = [resized(reduced[index], grid) for level in self.levels[1:] for index in level]
        context = self.final_cat(torch.cat([F.adaptive_avg_pool2d(low, grid), *above], dim=1))
        pool = F.adaptive_max_pool2d if branch == "support" else F.adaptive_avg_pool2d
        residual = None if self.residual is None else self.residual(pool(low, grid))
        return Visual(context, residual, self.skip(torch.relu(low)), self.objectness(context))


def of_unit_scale(map_BChw: Tensor) -> Tensor:
    """Raw maps differ in scale by layer and backbone; an image's map is brought to unit mean square as a whole."""
    return map_BChw / (map_BChw.square().mean((1, 2, 3), keepdim=True).sqrt() + SCALE_FLOOR)
