"""A small backbone that knows names."""

from __future__ import annotations

import torch

from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone


class Knowing(Backbone):
    """The tiny backbone with a classifier of a thousand classes."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = build_backbone("tiny")
        self.name, self.channels, self.strides = self.trunk.name, self.trunk.channels, self.trunk.strides
        self.class_names = tuple(map(str, range(1000)))
        self.weight = torch.randn(1000, self.channels[-1], generator=torch.Generator().manual_seed(0))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self.trunk(images)

    def class_logits(self, vectors_IC: torch.Tensor) -> torch.Tensor:
        return vectors_IC @ self.weight.T
