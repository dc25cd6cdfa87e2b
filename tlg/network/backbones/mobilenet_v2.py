"""torchvision's MobileNetV2."""

from __future__ import annotations

from tlg.network.backbones.quick_imports import compiler_on_demand
from tlg.network.backbones.sequential import SequentialBackbone

with compiler_on_demand():
    from torchvision.models import mobilenet_v2


class MobileNetV2(SequentialBackbone):
    """Seven block outputs at strides 8, 16 and 32; the deepest is the 1280-channel map the classifier reads."""

    name = "mobilenet_v2"
    # Positions in torchvision's `features`.
    tapped = (5, 6, 10, 13, 16, 17, 18)
    channels = (32, 32, 64, 96, 160, 320, 1280)
    strides = (8, 8, 16, 16, 32, 32, 32)

    def __init__(self) -> None:
        super().__init__(mobilenet_v2().features)
