"""torchvision's ResNet-50."""

from __future__ import annotations

import torch
from torch import Tensor

from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.quick_imports import compiler_on_demand

with compiler_on_demand():
    from torchvision.models import resnet50
    from torchvision.models.resnet import Bottleneck


class ResNet50(Backbone):
    """The 13 bottleneck outputs of layer2, layer3 and layer4."""

    name = "resnet50"
    channels = (512,) * 4 + (1024,) * 6 + (2048,) * 3
    strides = (8,) * 4 + (16,) * 6 + (32,) * 3

    def __init__(self) -> None:
        super().__init__()
        trunk = resnet50()
        self.conv1, self.bn1, self.maxpool = trunk.conv1, trunk.bn1, trunk.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        x = self.layer1(self.maxpool(torch.relu(self.bn1(self.conv1(images_B3HW)))))
        maps = []
        for layer in (self.layer2, self.layer3, self.layer4):
            for block in layer:
                raw = bottleneck_before_relu(block, x)
                maps.append(raw)
                x = torch.relu(raw)
        return maps


def bottleneck_before_relu(block: Bottleneck, x: Tensor) -> Tensor:
    """torchvision's Bottleneck without its last ReLU."""
    out = torch.relu(block.bn1(block.conv1(x)))
    out = torch.relu(block.bn2(block.conv2(out)))
    out = block.bn3(block.conv3(out))
    return out + (x if block.downsample is None else block.downsample(x))
