"""A small convolutional network over evidence: near and far, nothing but relations in, a few maps out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 4


class Mixer(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        far = width * 3 // 2
        self.near = nn.Sequential(*block(inputs, width, 1), *block(width, width, 3))
        self.far = nn.Sequential(
            *block(width, far, 3, stride=2), *block(far, far, 3, dilation=2), *block(far, far, 3, dilation=3)
        )
        self.both = nn.Sequential(*block(width + far, width, 3))

    def forward(self, evidence_XMhw: Tensor) -> Tensor:
        near_XDhw = self.near(evidence_XMhw)
        far_XDhw = F.interpolate(self.far(near_XDhw), near_XDhw.shape[-2:], mode="bilinear", align_corners=False)
        return self.both(torch.cat([near_XDhw, far_XDhw], 1))


def block(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[nn.Module, ...]:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation)
    return convolution, nn.GroupNorm(GROUPS, outputs), nn.ReLU()
