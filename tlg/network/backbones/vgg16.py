"""torchvision's VGG-16."""

from __future__ import annotations

from tlg.network.backbones.quick_imports import compiler_on_demand
from tlg.network.backbones.sequential import SequentialBackbone

with compiler_on_demand():
    from torchvision.models import vgg16


class VGG16(SequentialBackbone):
    """The last six convolutions and the last pooling."""

    name = "vgg16"
    # Positions in torchvision's `features`.
    tapped = (17, 19, 21, 24, 26, 28, 30)
    channels = (512,) * 7
    strides = (8,) * 3 + (16,) * 3 + (32,)

    def __init__(self) -> None:
        super().__init__(vgg16().features)
