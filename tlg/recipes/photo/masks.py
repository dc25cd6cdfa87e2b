"""What exemplars bring in training: true masks, boxes, careless outlines, and maps as made from a name alone.

A mask is two masses on a coarse grid, inside and outside; what is unknown counts for neither.
Shapes: S pixels of a label map a side, G cells a side of the grid.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.recipes.photo.drawing import chance, pick

# Shares of the kinds: the rest are maps as made from a name.
TRUE, BOX, CARELESS = 0.5, 0.08, 0.07
# Of the maps that no person drew: so many are real, the rest are drawn as if.
REAL = 0.7
# Pixels by which a careless outline is off, both sides together, where the label map has 192 a side.
WIDTHS, DRAWN_AT = (3, 7, 11), 192
# A map made from a name has so many cells a side where the grid has 48.
COARSE_CELLS = (4, 8)

Masses = tuple[Tensor, Tensor]


def masses(mask_SS: Tensor, known_SS: Tensor, grid: int) -> Masses:
    """(G,G) shares of each cell inside and outside, of what is known."""
    return share(mask_SS & known_SS, grid), share(~mask_SS & known_SS, grid)


def share(mask_SS: Tensor, grid: int) -> Tensor:
    return F.adaptive_avg_pool2d(mask_SS.float()[None], grid)[0]


def given(rng: np.random.Generator, label_SS: Tensor, class_id: int, grid: int, unmasked_ss: Tensor) -> Masses:
    """An exemplar's masses in one of the forms that people give; `unmasked` is its map where no person drew one."""
    mask, known = label_SS == class_id, label_SS >= 0
    kind = rng.random()
    if kind < TRUE or not mask.any():
        return masses(mask, known, grid)
    if kind < TRUE + BOX:
        return masses(boxed(mask), torch.ones_like(mask), grid)
    if kind < TRUE + BOX + CARELESS:
        return masses(careless(rng, mask), known, grid)
    if chance(rng, REAL):
        real_GG = F.interpolate(unmasked_ss[None, None], (grid, grid), mode="bilinear", align_corners=False)[0, 0]
        return real_GG, 1 - real_GG
    return as_from_a_name(rng, share(mask & known, grid), share((label_SS > 0) & ~mask, grid))


def boxed(mask_SS: Tensor) -> Tensor:
    ys, xs = torch.where(mask_SS)
    box = torch.zeros_like(mask_SS)
    box[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
    return box


def careless(rng: np.random.Generator, mask_SS: Tensor) -> Tensor:
    """Drawn too wide or too narrow; a mask that would vanish stays."""
    width = pick(rng, WIDTHS) * len(mask_SS) // DRAWN_AT | 1
    plane = mask_SS.float()[None, None]
    if chance(rng, 0.6):
        drawn = F.max_pool2d(plane, width, 1, width // 2)[0, 0] > 0
    else:
        drawn = -F.max_pool2d(-plane, width, 1, width // 2)[0, 0] > 0
    return drawn if drawn.any() else mask_SS


def as_from_a_name(rng: np.random.Generator, inside_GG: Tensor, others_GG: Tensor) -> Masses:
    """Coarse, leaking, noisy, and now and then partly on other things."""
    grid = len(inside_GG)
    if chance(rng, 0.35):
        inside_GG = torch.maximum(inside_GG, float(rng.uniform(0.3, 0.9)) * others_GG)
    side = max(1, grid // pick(rng, COARSE_CELLS))
    coarse = F.adaptive_avg_pool2d(inside_GG[None], side)
    noise = torch.from_numpy(rng.standard_normal((1, side, side)).astype(np.float32))
    coarse = (coarse + 0.12 * float(rng.random()) * noise).clamp_min(0)
    smooth = F.interpolate(coarse[None], (grid, grid), mode="bilinear", align_corners=False)[0, 0]
    found = (smooth / (smooth.max() + 1e-6)) ** float(rng.uniform(0.5, 1.5))
    return found, 1 - found
