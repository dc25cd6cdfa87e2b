"""Trunks that are one sequence of layers, as torchvision writes some of them."""

from __future__ import annotations

from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone


class SequentialBackbone(Backbone):
    """A trunk that is one `features` sequence; the pyramid is what some of its positions give."""

    tapped: tuple[int, ...]

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        for module in features.modules():
            if isinstance(module, nn.ReLU | nn.ReLU6):
                module.inplace = False  # a map that was handed out must not be overwritten by the next layer

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        maps = []
        x = images_B3HW
        for position, layer in enumerate(self.features):
            x = layer(x)
            if position in self.tapped:
                maps.append(x)
        return maps
