"""torchvision's VGG-16."""

from __future__ import annotations

from torchvision.models import vgg16

from tlg.network.backbones.sequential import SequentialBackbone


class VGG16(SequentialBackbone):
    """The last six convolutions and the last pooling."""

    name = "vgg16"
    # Positions in torchvision's `features`.
    tapped = (17, 19, 21, 24, 26, 28, 30)
    channels = (512,) * 7
    strides = (8,) * 3 + (16,) * 3 + (32,)

    def __init__(self) -> None:
        super().__init__(vgg16().features)
