"""How readily a class is taken, and who says so, as the drawn exemplars have it: each is answered by the others.

Likeness has no scale of its own. Where a network finds too much or too little of what people drew, or the exemplar
prior finds it better, pictures without a drawing are answered accordingly. Where nobody drew, the exemplars' own maps
say how large the class is, as far as they are agreed upon, and each picture says where it ends: beside an only
exemplar, or where the exemplars agree.

Shapes: K exemplars of a class, T of them tried, H x W the input size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tlg.evidence.exemplar import Prior
from tlg.evidence.fusion import between, bounded_log_odds
from tlg.evidence.own_maps import OwnMaps
from tlg.evidence.reach import Witnesses
from tlg.network.features import Features
from tlg.network.named import Named
from tlg.network.tlg import TLG

SHIFTS = tuple(step / 2 for step in range(-6, 7))
PRIOR_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
# What a shift by one and the prior alone have to gain, in intersection over union: few exemplars tell little.
SHIFT_COSTS, PRIOR_COSTS = 0.01, 0.1
# Of the best shift so much is believed.
BELIEVED = 0.5
# More exemplars than this are not tried: their verdict would hardly change.
MOST_TRIED = 8
# Overlaps are counted on every so many-th pixel, across and down.
STRIDE = 4
FEWEST = 2
# Agreement of exemplars without a drawing from which on a picture has a say, and with which the say is whole.
EXEMPLARS_AGREE = (0.5, 1.0)


@dataclass(frozen=True)
class Readiness:
    """`extent` and `shift` are added to the network's log-odds; beside them the prior's count `prior_share`.
    `asks_picture`: how much of a say every picture has in how far the class reaches, 0 to 1; `drawn_share`: how much of
    its picture the drawn thing is, None where nobody drew: a drawing is hardly contradicted."""

    extent: float = 0.0
    shift: float = 0.0
    prior_share: float = 0.0
    asks_picture: float = 0.0
    drawn_share: float | None = None

    def applied(self, margin_HW: Tensor, witnesses: Witnesses) -> Tensor:
        """(H, W) log-odds of the class."""
        margin_HW = margin_HW + self.extent
        if self.prior_share:
            margin_HW = torch.lerp(margin_HW, bounded_log_odds(witnesses.likeness()), self.prior_share)
        if self.asks_picture:
            margin_HW = torch.lerp(margin_HW, witnesses.reached(margin_HW, self.drawn_share), self.asks_picture)
        return margin_HW + self.shift


def readiness(
    net: TLG,
    prior: Prior | None,
    shots: Features,
    own: OwnMaps,
    drawn: Sequence[Tensor | None],
    named: Callable[[int], Named | None],
) -> Readiness:
    """Of a class with these exemplars. `own` are the maps that the network gets of them, `drawn` (H, W) those that
    people drew, `named` says what the class's name says of an exemplar."""
    masks = {row: mask_HW for row, mask_HW in enumerate(drawn) if mask_HW is not None}
    if not net.takes_extent:
        return Readiness()
    if not masks:
        extent_by_maps = float(own.agreement.mean() * net.extent(own.inside))
        return Readiness(extent=extent_by_maps, asks_picture=say_of_pictures(own) if own.is_open else 0.0)
    extent = Readiness(extent=extent_of(net, drawn))
    if len(drawn) == 1:
        return replace(extent, asks_picture=1.0, drawn_share=float(masks[0].float().mean()))
    if len(masks) < FEWEST:
        return extent
    margins, priors, truths = [], [], []
    for row in list(masks)[:MOST_TRIED]:
        others = [other for other in range(len(drawn)) if other != row]
        support = net.encode_support(shots[others], own.inside[others], None, own.outside[others])
        logits_2HW = net.segment(shots[[row]], None, [support], None, named(row))[0, 0].float()
        margins.append(logits_2HW[1] - logits_2HW[0] + extent_of(net, [drawn[other] for other in others]))
        if prior is not None:
            fitted = prior.fit([(shots[[other]], 0, drawn[other]) for other in others])
            priors.append(bounded_log_odds(fitted.maps(shots[[row]])[0, 0].float()))
        truths.append(masks[row] > 0.5)
    prior_THW = torch.stack(priors) if priors else None
    return replace(verdict(torch.stack(margins), prior_THW, torch.stack(truths)), extent=extent.extent)


def say_of_pictures(own: OwnMaps) -> float:
    """Whole beside an only exemplar, which cannot tell where the class ends; beside several, as far as they agree."""
    return 1.0 if len(own.agreement) == 1 else between(float(own.agreement.mean()), *EXEMPLARS_AGREE)


def extent_of(net: TLG, drawn: Sequence[Tensor | None]) -> float:
    masks = [mask_HW for mask_HW in drawn if mask_HW is not None]
    return float(net.extent(torch.stack(masks))) if masks else 0.0


def verdict(margin_THW: Tensor, prior_THW: Tensor | None, truth_THW: Tensor) -> Readiness:
    """The shift and the prior's share under which answers overlap most with what was drawn, all exemplars together."""
    places = (..., slice(STRIDE // 2, None, STRIDE), slice(STRIDE // 2, None, STRIDE))
    margin, truth = margin_THW[places].flatten(), truth_THW[places].flatten()
    prior = None if prior_THW is None else prior_THW[places].flatten()
    best, chosen = float("-inf"), Readiness()
    for share in PRIOR_SHARES if prior is not None else PRIOR_SHARES[:1]:
        mixed = margin if prior is None else torch.lerp(margin, prior, share)
        for shift in sorted(SHIFTS, key=abs):
            taken = mixed + shift > 0
            overlap = float((taken & truth).sum()) / max(1.0, float((taken | truth).sum()))
            worth = overlap - SHIFT_COSTS * abs(shift) - PRIOR_COSTS * share
            if worth > best:
                best, chosen = worth, Readiness(shift=BELIEVED * shift, prior_share=share)
    return chosen
