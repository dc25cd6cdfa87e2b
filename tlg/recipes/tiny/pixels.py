"""Batches of scenes as tensors, seen a little differently each time.

Shapes: B images of 3 channels, S pixels a side in the bank, T pixels a side in the batch.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.pictures import IMAGENET_MEAN, IMAGENET_STD
from tlg.recipes.tiny.bank import SceneBank


def normalised(images_BSS3: np.ndarray) -> Tensor:
    """uint8 pixels as the network reads them, (B,3,S,S)."""
    mean, std = (torch.tensor(c).view(1, 3, 1, 1) for c in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(images_BSS3).permute(0, 3, 1, 2).float() / 255 - mean) / std


def augmented(
    rng: np.random.Generator, bank: SceneBank, numbers: np.ndarray, side: int, zoom: tuple[float, float], flip: bool
) -> tuple[Tensor, Tensor]:
    """Images (B,3,T,T) and labels (B,T,T): moved, zoomed (above 1 is closer), mirrored, and with other colours."""
    images_B3SS = normalised(bank.images[numbers])
    labels_BSS = torch.from_numpy(bank.labels[numbers])
    count = len(numbers)
    scale = torch.from_numpy(1 / rng.uniform(*zoom, count)).float()
    mirror = torch.from_numpy(np.where(flip & (rng.random(count) < 0.5), -1.0, 1.0)).float()
    shift = torch.from_numpy(rng.uniform(-0.12, 0.12, (count, 2))).float()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale * mirror, scale, shift
    grid = F.affine_grid(theta, [count, 3, side, side], align_corners=False)
    images_B3TT = F.grid_sample(images_B3SS, grid, align_corners=False, padding_mode="reflection")
    labels_BTT = F.grid_sample(
        labels_BSS[:, None].float(), grid, mode="nearest", align_corners=False, padding_mode="reflection"
    )[:, 0].long()
    return recoloured(rng, images_B3TT), labels_BTT


def recoloured(rng: np.random.Generator, images_B3TT: Tensor) -> Tensor:
    """Contrast and cast of each image; for some images the channels change places, so that hue is a weak clue."""
    count = len(images_B3TT)
    gain = torch.from_numpy(rng.uniform(0.75, 1.25, (count, 3, 1, 1))).float()
    offset = torch.from_numpy(rng.normal(0, 0.15, (count, 3, 1, 1))).float()
    orders = np.stack([rng.permutation(3) if rng.random() < 0.3 else np.arange(3) for _ in range(count)])
    shuffled = images_B3TT[torch.arange(count)[:, None], torch.from_numpy(orders)]
    return shuffled * gain + offset


def shrunk_labels(labels_BTT: Tensor, stride: int) -> Tensor:
    """The label in the middle of each cell of a feature map."""
    return labels_BTT[:, stride // 2 :: stride, stride // 2 :: stride]
