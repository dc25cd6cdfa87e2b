"""The squeeze: correlations of an image with its exemplars become one map on the image's own grid.

Shapes: X pairs of image and class, K shots, M correlated maps, H x W the working grid, S cells a side, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlg.network.repaired.aggregation import BRANCHES, Branch
from tlg.network.repaired.conv4d import CenterPivotConv4d

NORM_GROUPS = 4


class Squeeze(nn.Module):
    """A small 4-D encoder over (image position, exemplar cell), then a 2-D mix with the cues and the prior."""

    CHANNELS = (16, 32)

    def __init__(self, maps: int, cues: int, width: int) -> None:
        super().__init__()
        first, second = self.CHANNELS
        self.encoder = nn.Sequential(
            CenterPivotConv4d(maps, first, kernel=3, stride=2),
            nn.GroupNorm(NORM_GROUPS, first),
            nn.ReLU(),
            CenterPivotConv4d(first, second, kernel=3, stride=2),
            nn.GroupNorm(NORM_GROUPS, second),
            nn.ReLU(),
        )
        self.mix_in = nn.Conv2d(second + cues, width, 3, padding=1, bias=False)
        self.mix_norm = nn.GroupNorm(NORM_GROUPS, width)
        # The two branches see unlike correlations (an exemplar is matched with its own kind or with itself).
        self.branch_offset = nn.Embedding(len(BRANCHES), width)
        self.mix_out = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=2, dilation=2, bias=False), nn.GroupNorm(NORM_GROUPS, width), nn.ReLU()
        )

    def forward(self, corr_XKMHWSS: Tensor, shot_weight_XK: Tensor, cues_XCHW: Tensor, branch: Branch) -> Tensor:
        """E (X, D, H, W); shots are averaged by weight, so their order does not matter."""
        encoded = self.encoder(corr_XKMHWSS.flatten(0, 1)).mean(dim=(-2, -1))
        encoded = encoded.view(*shot_weight_XK.shape, *encoded.shape[1:])
        encoded = torch.einsum("xkchw,xk->xchw", encoded, shot_weight_XK)
        offset = self.branch_offset.weight[BRANCHES.index(branch)][:, None, None]
        mixed = self.mix_norm(self.mix_in(torch.cat([encoded, cues_XCHW], dim=1)))
        return self.mix_out(torch.relu(mixed + offset))
