"""Frozen image backbones that give a pyramid of feature maps, shallow to deep.

Shapes: B images, H x W pixels; every map is (B, channels[i], ~H / strides[i], ~W / strides[i]).
"""

from __future__ import annotations

from itertools import groupby
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50, vgg16
from torchvision.models.resnet import Bottleneck

from tlg.errors import CheckpointError
from tlg.network.backbones.allocation import keep_freed_memory
from tlg.network.backbones.weights import backbone_state_dict

BackboneName = Literal["resnet50", "vgg16", "mobilenet_v2", "tiny"]

# Positions in torchvision's `features` whose outputs make the pyramid.
VGG16_MAPS = (17, 19, 21, 24, 26, 28, 30)
MOBILENET_V2_MAPS = (5, 6, 10, 13, 16, 17, 18)


class Backbone(nn.Module):
    """A frozen trunk: in eval mode for good, without a trainable parameter.

    Maps are raw: taken after the residual sum (or the convolution) and before the activation that follows.
    """

    name: BackboneName
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def freeze(self) -> Backbone:
        self.requires_grad_(False)
        return self.train(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in eval mode whatever is asked: frozen statistics are part of the contract."""
        return super().train(False)

    @property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the maps of one stride, finest level first."""
        indexed = groupby(range(len(self.strides)), key=lambda index: self.strides[index])
        return tuple(tuple(indices) for _, indices in indexed)


class ResNet50(Backbone):
    """The 13 bottleneck outputs of layer2, layer3 and layer4."""

    name: BackboneName = "resnet50"
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


class SequentialBackbone(Backbone):
    """A trunk that is one `features` sequence; the pyramid is what some of its positions give."""

    taps: tuple[int, ...]

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
            if position in self.taps:
                maps.append(x)
        return maps


class VGG16(SequentialBackbone):
    """The last six convolutions and the last pooling."""

    name: BackboneName = "vgg16"
    taps = VGG16_MAPS
    channels = (512,) * 7
    strides = (8,) * 3 + (16,) * 3 + (32,)

    def __init__(self) -> None:
        super().__init__(vgg16().features)


class MobileNetV2(SequentialBackbone):
    """Seven block outputs at strides 8, 16 and 32; the deepest is the 1280-channel map the classifier reads."""

    name: BackboneName = "mobilenet_v2"
    taps = MOBILENET_V2_MAPS
    channels = (32, 32, 64, 96, 160, 320, 1280)
    strides = (8, 8, 16, 16, 32, 32, 32)

    def __init__(self) -> None:
        super().__init__(mobilenet_v2().features)


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

    name: BackboneName = "tiny"
    channels = TinyTrunk.channels
    strides = TinyTrunk.strides

    def __init__(self) -> None:
        super().__init__()
        self.trunk = TinyTrunk()

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        return self.trunk(images_B3HW)


BACKBONES: dict[str, type[Backbone]] = {"resnet50": ResNet50, "vgg16": VGG16, "mobilenet_v2": MobileNetV2, "tiny": Tiny}
# What torchvision's checkpoints hold beside the trunk.
CLASSIFIER_PREFIXES = ("fc.", "classifier.")


def build_backbone(name: BackboneName, weights: str | None = None) -> Backbone:
    """A frozen backbone.

    `weights` is a path or URI of a state dict (safetensors, or pth read without running anything in it) with
    torchvision's names, `imagenet` for torchvision's own download, or None for random values.
    """
    if name not in BACKBONES:
        raise CheckpointError(f"unknown backbone {name!r}; known are {', '.join(get_args(BackboneName))}")
    keep_freed_memory()
    backbone = BACKBONES[name]()  # type: ignore[call-arg]
    if weights is not None:
        load_trunk(backbone, backbone_state_dict(name, weights), source=weights)
    return backbone.freeze()


def load_trunk(backbone: Backbone, state: dict[str, Tensor], source: str) -> None:
    """Fills the backbone from a torchvision state dict, ignoring the classifier and nothing else."""
    wanted = backbone.state_dict()
    given = {key: value for key, value in state.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    # Very old torchvision files lack the batch counters, which nothing reads in eval mode.
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    unknown = [key for key in given if key not in wanted]
    if missing or unknown:
        raise CheckpointError(
            f"{source} is not a {backbone.name} state dict: {len(missing)} of {len(wanted)} entries are missing"
            f" (such as {missing[:2]}), {len(unknown)} are unknown (such as {unknown[:2]})"
        )
    for key, value in given.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(
                f"{source}: {key} has shape {tuple(value.shape)}, {backbone.name} needs {tuple(wanted[key].shape)}"
            )
    backbone.load_state_dict(given, strict=False)
