"""The product's own small trunk, for drawn pictures and tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a residual, without the last ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        changes = stride != 1 or c_in != c_out
        self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.shortcut(x)


class TinyTrunk(nn.Module):
    """Our own small residual trunk for pictures of about 200 pixels: eight blocks at strides 4, 8 and 16.

    Trainable, so that it can be pretrained; `Tiny` is the frozen backbone made of it.
    """

    channels = (32, 32, 64, 64, 64, 128, 128, 128)
    strides = (4, 4, 8, 8, 8, 16, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        widths, strides = (24, *self.channels), (2, *self.strides)
        self.blocks = nn.ModuleList(
            BasicBlock(widths[i], widths[i + 1], strides[i + 1] // strides[i]) for i in range(len(self.channels))
        )

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        x = self.stem(images_B3HW)
        maps = []
        for block in self.blocks:
            raw = block(x)
            maps.append(raw)
            x = torch.relu(raw)
        return maps


class Tiny(Backbone):
    """The frozen `TinyTrunk`."""

    name = "tiny"
    channels = TinyTrunk.channels
    strides = TinyTrunk.strides

    def __init__(self) -> None:
        super().__init__()
        self.trunk = TinyTrunk()

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        return self.trunk(images_B3HW)
