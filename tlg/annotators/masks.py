"""From a map of a class, at the model's input size, to a picture's mask and how certain the mask is.

Shapes: h x w the map's size, H x W the mask's (or, where only the map is there, the map's).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# How certain a mask is is judged on it and around it, as far as this share of the map's longer side.
NEAR = 1 / 20
# A mask is brought to its picture's own size in strips of so many places.
STRIP_PLACES = 1 << 22


def mask_of_size(map_hw: Tensor, height: int, width: int) -> np.ndarray:
    """Where the map, brought to this size bilinearly, is above even odds: (H, W) bool in the order that RLE reads.

    Made in strips of columns: besides the mask itself little memory is taken, however large the picture.
    """
    top, bottom, lower = neighbours(map_hw.shape[0], height, map_hw.device)
    left, right, weight = neighbours(map_hw.shape[1], width, map_hw.device)
    tall_Hw = torch.lerp(map_hw[top], map_hw[bottom], lower[:, None])
    mask_HW = np.empty((height, width), bool, order="F")
    columns = max(1, STRIP_PLACES // height)
    for start in range(0, width, columns):
        strip = slice(start, start + columns)
        wide = torch.lerp(tall_Hw[:, left[strip]], tall_Hw[:, right[strip]], weight[None, strip])
        mask_HW[:, strip] = (wide > 0.5).cpu().numpy()
    return mask_HW


def neighbours(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For every place of an axis that grows from `length` to `size`: the places it lies between, and how far."""
    place = (torch.arange(size, device=device, dtype=torch.float64) + 0.5) * (length / size) - 0.5
    place = place.clamp(0, length - 1)
    before = place.long()
    return before, (before + 1).clamp_max(length - 1), (place - before).float()


def soft_iou(map_HW: Tensor) -> float:
    """How decided a map is: the expected overlap of its mask with itself, 1 where every pixel is certain.

    Judged near the mask: faint odds far away would add up over a whole picture and outweigh a small object.
    """
    mask_HW = map_HW > 0.5
    reach = max(1, round(NEAR * max(map_HW.shape)))
    near_HW = near_rows(near_rows(mask_HW, reach).T, reach).T
    union = torch.where(mask_HW, torch.ones_like(map_HW), map_HW)[near_HW].sum()
    return float(map_HW[mask_HW].sum() / union.clamp_min(1e-6))


def near_rows(mask_HW: Tensor, reach: int) -> Tensor:
    """(H, W) bool: the places with a marked one at most so many rows above or below, counted by running sums."""
    sums = F.pad(mask_HW.int(), (0, 0, reach + 1, reach)).cumsum(0, dtype=torch.int32)
    return sums[2 * reach + 1 :] > sums[: -(2 * reach + 1)]
