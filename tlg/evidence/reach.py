"""How far a class with an only exemplar reaches in a picture, as the picture itself has it.

One exemplar tells well which of a picture's places are liker the class than others, and badly where to stop. Where
likeness to the exemplar, the class's name and the network agree about places, the class ends where the picture parts:
where its two sides differ most, and where the network's answer changes fastest.

Shapes: C channels, h x w their grid, L = h * w, H x W the input size, S shifts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.own_maps import NAME_AGREES, alike, between

# The shifts of the log-odds that are tried, and how sharply a better one outweighs the others.
FARTHEST, STEP, SHARPNESS = 3.0, 0.5, 20.0
# How much the change along the border counts beside the difference of its sides.
BORDER_COUNTS = 0.5
# The power of share * (1 - share) by which variance between the sides is divided: whole, halves would win; not at all,
# specks would.
EVENNESS = 0.5
# A side with less of the picture than this is none, nor is a border of so few places.
LEAST_SHARE, LEAST_BORDER = 0.005, 5
# Log-odds beyond this are certain.
CERTAIN = 5.0
TINY = 1e-6


@dataclass(frozen=True)
class Witnesses:
    """What else is known of a picture: the backbone's finest map (C, h, w), and how likely each place (H, W) shows the
    class, by its likeness to the exemplar, made where it counts, and by its name; None of a name that nobody knows."""

    finest: Tensor
    likeness: Callable[[], Tensor]
    by_name: Tensor | None

    def reached(self, margin_HW: Tensor) -> Tensor:
        """(H, W) log-odds, shifted as far as the witnesses agree with them."""
        if self.by_name is None:
            return margin_HW
        three = (margin_HW.sigmoid(), self.by_name, self.likeness())
        pairs = [alike(one, other) for place, one in enumerate(three) for other in three[:place]]
        agreement = between(sum(pairs) / len(pairs), *NAME_AGREES)
        return margin_HW + agreement * reach(margin_HW, self.finest) if agreement else margin_HW


def reach(margin_HW: Tensor, finest_Chw: Tensor) -> float:
    """The shift under which the picture parts best."""
    shift_S = torch.arange(-FARTHEST, FARTHEST + STEP / 2, STEP, device=margin_HW.device)
    scores_S = apart(margin_HW, finest_Chw, shift_S) + BORDER_COUNTS * steepness(margin_HW, shift_S)
    return float((torch.softmax(SHARPNESS * scores_S, 0) * shift_S).sum())


def apart(margin_HW: Tensor, finest_Chw: Tensor, shift_S: Tensor) -> Tensor:
    """(S,) at most 1: how far the two sides' mean features are apart."""
    place_LC = finest_Chw.float().flatten(1).T
    place_LC = place_LC - place_LC.mean(0)
    h, w = finest_Chw.shape[1:]
    margin_L = F.adaptive_avg_pool2d(margin_HW[None, None], (h, w)).flatten()
    taken_SL = (margin_L + shift_S[:, None] > 0).to(place_LC)
    share_S = taken_SL.mean(1)
    mean_SC = taken_SL @ place_LC / taken_SL.sum(1, keepdim=True).clamp_min(1)
    # Features are centred, so the other side's mean is this one's, the other way and weighed by the shares.
    between_S = share_S / (1 - share_S).clamp_min(TINY) * mean_SC.square().sum(1)
    apart_S = between_S / (share_S * (1 - share_S)).clamp_min(TINY) ** EVENNESS
    has_sides = (share_S > LEAST_SHARE) & (share_S < 1 - LEAST_SHARE)
    return _of_the_most(torch.where(has_sides, apart_S, torch.zeros_like(apart_S)))


def steepness(margin_HW: Tensor, shift_S: Tensor) -> Tensor:
    """(S,) at most 1: how fast the log-odds change along the border."""
    margin_hw = F.avg_pool2d(margin_HW[None, None], 2)[0, 0]
    change_hw = torch.maximum(*_across_and_down(margin_hw.clamp(-CERTAIN, CERTAIN)))
    found = []
    for shift in shift_S:
        across, down = _across_and_down((margin_hw + shift > 0).to(margin_hw))
        border_hw = torch.maximum(across, down) > 0
        is_border = int(border_hw.sum()) > LEAST_BORDER
        found.append(change_hw[border_hw].mean() if is_border else change_hw.new_zeros(()))
    return _of_the_most(torch.stack(found))


def _across_and_down(plane_hw: Tensor) -> tuple[Tensor, Tensor]:
    here = plane_hw[:-1, :-1]
    return (plane_hw[:-1, 1:] - here).abs(), (plane_hw[1:, :-1] - here).abs()


def _of_the_most(values_S: Tensor) -> Tensor:
    return values_S / values_S.max().clamp_min(TINY)
