"""Snap a map's edges to the image. The maps come from grids of 16 pixels and more; objects end somewhere in between.

Shapes: B images, N classes, H x W the image, h x w the smaller size that the work is done at.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# The longer side that refinement works at: edges finer than this come from the last upsampling alone.
WORKING_SIDE = 128
CLASSES_AT_ONCE = 8
GUIDED_RADIUS = 10
GUIDED_SMOOTHNESS = 1e-2


@torch.no_grad()
def refine(maps_BNHW: Tensor, images_B3HW: Tensor) -> Tensor:
    """Maps in 0..1 with their edges moved to those of the images (RGB of any scale and offset), same size."""
    if not maps_BNHW.numel():
        return maps_BNHW
    height, width = images_B3HW.shape[-2:]
    shrink = min(1.0, WORKING_SIDE / max(height, width))
    small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    guide_B3hw = F.interpolate(to_unit_colours(images_B3HW), small, mode="bilinear", antialias=True)
    map_BNhw = F.interpolate(maps_BNHW, small, mode="bilinear", antialias=True)
    slope_BN3hw, offset_BNhw = guided_coefficients(map_BNhw, guide_B3hw)
    colours_B13HW = to_unit_colours(images_B3HW)[:, None]
    parts = []
    # Three slopes a class at full size are most of the memory: never those of many classes at once.
    for some in torch.arange(maps_BNHW.shape[1]).split(CLASSES_AT_ONCE):
        slope = F.interpolate(slope_BN3hw[:, some].flatten(1, 2), (height, width), mode="bilinear")
        offset = F.interpolate(offset_BNhw[:, some], (height, width), mode="bilinear")
        parts.append(((slope.unflatten(1, (-1, 3)) * colours_B13HW).sum(2) + offset).clamp(0, 1))
    return torch.cat(parts, 1)


def to_unit_colours(images_B3HW: Tensor) -> Tensor:
    """Each image stretched to 0..1, so that smoothness means the same whatever normalisation it came in."""
    low, high = images_B3HW.amin((1, 2, 3), keepdim=True), images_B3HW.amax((1, 2, 3), keepdim=True)
    return (images_B3HW - low) / (high - low).clamp_min(1e-6)


def guided_coefficients(map_BNhw: Tensor, guide_B3hw: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes (B, N, 3, h, w) and offsets (B, N, h, w) of the local linear models that give the map from the colours."""
    classes = map_BNhw.shape[1]
    mean_guide = box_mean(guide_B3hw)
    mean_map = box_mean(map_BNhw)
    products = (guide_B3hw[:, :, None] * guide_B3hw[:, None]).flatten(1, 2)
    spread_B33hw = box_mean(products).unflatten(1, (3, 3)) - mean_guide[:, :, None] * mean_guide[:, None]
    crossed = (map_BNhw[:, :, None] * guide_B3hw[:, None]).flatten(1, 2)
    crossed_BN3hw = box_mean(crossed).unflatten(1, (classes, 3)) - mean_map[:, :, None] * mean_guide[:, None]
    spread_Bhw33 = spread_B33hw.permute(0, 3, 4, 1, 2)
    regular = spread_Bhw33 + GUIDED_SMOOTHNESS * torch.eye(3, device=spread_Bhw33.device, dtype=spread_Bhw33.dtype)
    slope_Bhw3N = torch.linalg.solve(regular, crossed_BN3hw.permute(0, 3, 4, 2, 1))
    slope_BN3hw = slope_Bhw3N.permute(0, 4, 3, 1, 2)
    offset_BNhw = mean_map - (slope_BN3hw * mean_guide[:, None]).sum(2)
    return box_mean(slope_BN3hw.flatten(1, 2)).unflatten(1, (classes, 3)), box_mean(offset_BNhw)


def box_mean(x_BChw: Tensor) -> Tensor:
    """Mean over the square of GUIDED_RADIUS around each place, over what of it lies inside."""
    size = 2 * GUIDED_RADIUS + 1
    for kernel, padding in (((size, 1), (GUIDED_RADIUS, 0)), ((1, size), (0, GUIDED_RADIUS))):
        x_BChw = F.avg_pool2d(x_BChw, kernel, 1, padding, count_include_pad=False)
    return x_BChw
