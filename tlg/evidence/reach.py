"""How far a class reaches in a picture, as the picture itself has it.

Exemplars tell well which of a picture's places are liker the class than others, and badly where to stop. Where likeness
to the exemplars, the class's name and the network agree about places, the class ends where the picture parts: where its
two sides differ most, and where the network's answer changes fastest. A name that is surely in the picture need not
agree about places, nor be borne out by the exemplars: likeness and the network do. Beside an only drawing of such a
name the picture is asked where they hardly differ, or where the drawn thing is large: of small things among many the
farthest border is somebody else's.

Shapes: C channels, h x w their grid, L = h * w, H x W the input size, S shifts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.fusion import NAME_AGREES, alike, between

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
# A name is surely in a picture whose log-odds of showing it are these.
SURELY_THERE = 2.0
# Correlations of answer and likeness: from which on a picture has a say then, and with which the say is whole; the same
# beside a drawing, and beside a drawing of a large thing.
BESIDE_A_SURE_NAME, BESIDE_A_DRAWING, BESIDE_A_LARGE_DRAWING = (0.35, 0.55), (0.85, 0.95), (0.5, 0.7)
# A drawn thing with this share of its picture begins to be large, and is large.
LARGE = (0.15, 0.3)
TINY = 1e-6


@dataclass(frozen=True)
class Witnesses:
    """What else is known of a picture.

    `finest`: the backbone's finest map (C, h, w). `likeness`: how likely each place (H, W) shows the class by its
    likeness to the exemplars, made where it counts. `by_name`: the same by the class's name, None of a name that nobody
    knows or the exemplars deny. `name_odds`: whether the picture shows the name at all, 0 where nobody knows."""

    finest: Tensor
    likeness: Callable[[], Tensor]
    by_name: Tensor | None
    name_odds: Callable[[], float]

    def reached(self, margin_HW: Tensor, drawn_share: float | None = None) -> Tensor:
        """(H, W) log-odds, shifted as far as the witnesses agree with them; beside a drawing, as far as its size and
        they have it."""
        answer_HW = margin_HW.sigmoid()
        agreement = (
            self._agreement(answer_HW) if drawn_share is None else self._beside_a_drawing(answer_HW, drawn_share)
        )
        return margin_HW + agreement * reach(margin_HW, self.finest) if agreement else margin_HW

    def _agreement(self, answer_HW: Tensor) -> float:
        """0 to 1."""
        is_sure = self.name_odds() >= SURELY_THERE
        if not is_sure and self.by_name is None:
            return 0.0
        likeness_HW = self.likeness()
        about_places = alike(answer_HW, likeness_HW)
        agreement = between(about_places, *BESIDE_A_SURE_NAME) if is_sure else 0.0
        if self.by_name is not None:
            pairs = about_places + alike(answer_HW, self.by_name) + alike(likeness_HW, self.by_name)
            agreement = max(agreement, between(pairs / 3, *NAME_AGREES))
        return agreement

    def _beside_a_drawing(self, answer_HW: Tensor, share: float) -> float:
        """0 to 1."""
        if self.name_odds() < SURELY_THERE:
            return 0.0
        about_places = alike(answer_HW, self.likeness())
        beside_large = between(share, *LARGE) * between(about_places, *BESIDE_A_LARGE_DRAWING)
        return max(between(about_places, *BESIDE_A_DRAWING), beside_large)


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
