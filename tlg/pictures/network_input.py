"""Pixels -> what the network reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_network_input(pixels: np.ndarray, side: int | tuple[int, int]) -> torch.Tensor:
    """(3, h, w) ImageNet-normalised float, resized (aspect not kept) to `side`."""
    import torch  # decoding workers never need it, and it takes seconds to import

    height, width = (side, side) if isinstance(side, int) else side
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    values_3HW = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]
    return (values_3HW - mean) / std
