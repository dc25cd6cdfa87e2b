"""Weights and inputs that are the same on every machine; `expected_resnet50.npz` belongs to exactly these."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from tlg.network.backbones.registry import build_backbone
from tlg.network.spec import NetworkSpec
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG
from tlg.pictures import IMAGENET_MEAN, IMAGENET_STD

SIZE = 400
# What a published checkpoint holds beside everything that the network uses.
UNUSED: dict[str, dict[str, tuple[int, ...]]] = {
    "resnet50": {"conv1024_512.weight": (512, 1024, 1, 1), "conv1024_512.bias": (512,)},
    "vgg16": {
        "conv_1024_128.weight": (128, 1024, 1, 1),
        "conv_1024_128.bias": (128,),
        "conv_2048_128.weight": (128, 2048, 1, 1),
        "conv_2048_128.bias": (128,),
    },
}
UNUSED_IN_BOTH: dict[str, tuple[int, ...]] = {
    "voc_conv_bach.weight": (8, 25, 1, 1),
    "voc_conv_bach.bias": (8,),
    "coco_conv_batch.weight": (8, 23, 1, 1),
    "coco_conv_batch.bias": (8,),
    "backbone.fc.weight": (1000, 2048),
}


def generator(seed: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(seed.encode()))


def parameter(name: str, shape: tuple[int, ...]) -> Tensor:
    noise = generator(name).standard_normal(shape or (1,)).astype(np.float32).reshape(shape)
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        value = np.zeros(shape, np.int64)
    elif leaf == "running_mean":
        value = 0.1 * noise
    elif leaf == "running_var":
        value = 0.5 + np.abs(noise)
    elif len(shape) == 1:
        value = 1 + 0.1 * noise if leaf == "weight" else 0.05 * noise
    else:
        gain = 2.0 if name.startswith("backbone") else 1.5
        value = noise * np.float32(np.sqrt(gain / int(np.prod(shape[1:]))))
    return torch.from_numpy(np.asarray(value)).reshape(shape)


def published_shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    network = TLG(NetworkSpec(backbone=backbone, behaviour="released"), build_backbone(backbone))
    trunk = {f"backbone.{key}": tuple(value.shape) for key, value in network.backbone.state_dict().items()}
    head = {key: tuple(value.shape) for key, value in network.head.state_dict().items()}
    return trunk | head | UNUSED[backbone] | UNUSED_IN_BOTH


def published_state_dict(backbone: str) -> dict[str, Tensor]:
    """As a published file holds it: every key under `module.`."""
    return {f"module.{name}": parameter(name, shape) for name, shape in published_shapes(backbone).items()}


def text(class_ids: list[int]) -> TextVectors:
    def rows(kind: str) -> Tensor:
        vectors = torch.from_numpy(generator(kind).standard_normal((20, 512)).astype(np.float32))
        return (vectors / vectors.norm(dim=1, keepdim=True))[class_ids]

    return TextVectors(rows("foreground"), rows("refined"), rows("background"))


def image(index: int) -> Tensor:
    """Coloured blocks with fine noise, normalised, (3, 400, 400)."""
    rng = generator(f"image{index}")
    blocks = rng.standard_normal((SIZE // 16, SIZE // 16, 3)).repeat(16, axis=0).repeat(16, axis=1)
    noise = rng.standard_normal((SIZE, SIZE, 3))
    pixels = np.clip(120 + 60 * blocks + 12 * noise, 0, 255).astype(np.uint8)
    scaled = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return (scaled - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def pseudo_mask(index: int) -> Tensor:
    blocks = generator(f"mask{index}").standard_normal((SIZE // 50, SIZE // 50)) > 0
    return torch.from_numpy(blocks.repeat(50, axis=0).repeat(50, axis=1)).float()
