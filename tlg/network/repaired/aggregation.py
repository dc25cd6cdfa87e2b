"""HA, heterogeneous visual aggregation: each branch reads its own layers of the one frozen backbone.

Shapes: B images, C channels, D width, H x W the working grid (the middle level's), h x w the finest level's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone
from tlg.network.repaired.correlation import resized, unit

Branch = Literal["query", "support"]
BRANCHES: tuple[Branch, ...] = ("query", "support")


@dataclass(frozen=True)
class Visual:
    """One branch's view of its images: `context` and `residual` (B, D, H, W), `skip` (B, D // 4, h, w).

    `objectness` (B, 1, H, W) are logits of there being any object at all; None where nothing says. `residual` is None
    where nothing reads it.
    """

    context: Tensor
    residual: Tensor | None
    skip: Tensor
    objectness: Tensor | None = None

    def repeat_interleave(self, times: int) -> Visual:
        """Every image `times` over, once per class."""
        context, skip = (plane.repeat_interleave(times, dim=0) for plane in (self.context, self.skip))
        residual, objectness = (
            None if plane is None else plane.repeat_interleave(times, dim=0)
            for plane in (self.residual, self.objectness)
        )
        return Visual(context, residual, skip, objectness)


def branch_maps(backbone: Backbone) -> dict[Branch, tuple[int, ...]]:
    """The maps a branch reads: the query each level's first, the support each level's last."""
    return {
        "query": tuple(level[0] for level in backbone.levels),
        "support": tuple(level[-1] for level in backbone.levels),
    }


class Aggregation(nn.Module):
    """Reduces each branch's maps and joins them on the working grid."""

    def __init__(self, backbone: Backbone, width: int) -> None:
        super().__init__()
        self.reads = branch_maps(backbone)
        self.reduce = nn.ModuleDict(
            {
                branch: nn.ModuleList(nn.Conv2d(backbone.channels[index], width, 1) for index in indices)
                for branch, indices in self.reads.items()
            }
        )
        joined = len(self.reads["query"]) * width
        self.final_cat = nn.Sequential(nn.Conv2d(joined, width, 1, bias=False), nn.GroupNorm(4, width), nn.ReLU())
        self.skip = nn.Conv2d(width, width // 4, 1)

    def forward(self, maps: Sequence[Tensor], branch: Branch) -> Visual:
        low, middle, *high = (
            # Raw maps differ in scale by layer and backbone; a position's vector is brought to unit mean square.
            reduce(unit(maps[index], dim=1) * maps[index].shape[1] ** 0.5)
            for reduce, index in zip(self.reduce[branch], self.reads[branch], strict=True)  # type: ignore[call-overload]
        )
        grid = middle.shape[-2:]
        pool = F.adaptive_max_pool2d if branch == "support" else F.adaptive_avg_pool2d
        deep = [resized(plane, grid) for plane in high]
        joined = torch.cat([F.adaptive_avg_pool2d(low, grid), middle, *deep], dim=1)
        return Visual(self.final_cat(joined), pool(low, grid), self.skip(torch.relu(low)))


class Merge(nn.Module):
    """Joins what a branch sees with what its correlations say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * width, width, 1, bias=False)

    def forward(self, visual_XDHW: Tensor, squeezed_XDHW: Tensor) -> Tensor:
        return self.merge(torch.cat([visual_XDHW, squeezed_XDHW], dim=1))
