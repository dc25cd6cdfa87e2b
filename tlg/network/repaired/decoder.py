"""The decoder: a branch's map, its skip features and its own prior become two logits per position.

Shapes: X pairs of image and class, D width, H x W the working grid, h x w the finest level's grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlg.network.repaired.correlation import resized

NORM_GROUPS = 4
# What sees every map soon knows better than the prior and must not have to unlearn it.
INITIAL_PRIOR_GAIN = {False: 2.0, True: 0.5}


class Decoder(nn.Module):
    """Starts out answering the prior (`prior_gain`) and learns what to change."""

    def __init__(self, width: int, inputs: int, skip: int, prior: bool, deep: bool, prior_trust: float) -> None:
        super().__init__()
        self.prior_trust = prior_trust
        half = width // 2
        self.decoder1 = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.GroupNorm(NORM_GROUPS, width), nn.ReLU()
        )
        if deep:
            self.decoder1.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
            self.decoder1.append(nn.GroupNorm(NORM_GROUPS, width)).append(nn.ReLU())
        self.decoder2 = nn.Sequential(
            nn.Conv2d(width + skip + prior, half, 3, padding=1, bias=False),
            nn.GroupNorm(NORM_GROUPS, half),
            nn.ReLU(),
            nn.Conv2d(half, 2, 3, padding=1),
        )
        with torch.no_grad():
            self.decoder2[-1].weight.mul_(0.1)  # type: ignore[union-attr, operator]
        if prior:
            self.res = nn.Sequential(nn.Conv2d(3, 10, 1), nn.GELU(), nn.Conv2d(10, 2, 1))
            self.prior_gain = nn.Parameter(torch.tensor(INITIAL_PRIOR_GAIN[deep]))

    def forward(self, z_XDHW: Tensor, skip_XChw: Tensor | None, prior_X1hw: Tensor | None, grid: tuple) -> Tensor:
        """Logits (X, 2, h, w) on the finest grid."""
        inputs = [resized(self.decoder1(z_XDHW), grid)]
        inputs += [plane for plane in (skip_XChw, prior_X1hw) if plane is not None]
        logits = self.decoder2(torch.cat(inputs, dim=1))
        if prior_X1hw is None:
            return logits
        correction = self.res(torch.cat([logits, prior_X1hw], dim=1))
        # What was learnt of the classes trained on holds less for others, so that answers lean on the prior more.
        gain = self.prior_gain if self.training else self.prior_gain + self.prior_trust
        lean = gain * (prior_X1hw - 0.5)
        return logits + correction + torch.cat([-lean, lean], dim=1)
