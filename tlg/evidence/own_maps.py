"""What exemplars that nobody drew on are taken to show: where their class is, and where it is not.

Likeness alone errs where a picture holds many things, and so does a name. Where the two agree about places, or each
exemplar shows what the others find in it, doubt speaks for neither side, and the exemplars of the class mend each
other's maps. Elsewhere doubt speaks against the class: a wrong place costs more than a missing one. An only exemplar
is asked for what it is taken to show, and mends what speaks for the class by its own answer.

Shapes: K exemplars of a class, H x W the input size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tlg.evidence.fusion import NAME_AGREES, alike, between, bounded_log_odds, fuse, unmasked_map
from tlg.evidence.reach import reach
from tlg.network.features import Features
from tlg.network.tlg import TLG, Support

# Overlaps of an exemplar's map with what the others find in it: where agreement begins, and where it is whole.
OTHERS_AGREE = (0.5, 0.6)
# The power that makes doubtful places count less where nobody knows the name either.
NAMELESS_DOUBT = 8
# The power of being outside with which a place speaks against a class that is agreed upon.
SURELY_OUTSIDE = 5
# The same of what people drew: a box or a stroke leaves doubtful places, and they are the object's as often as not.
DRAWN_OUTSIDE = 3
# So many others answer an exemplar.
MOST_OTHERS = 4


@dataclass(frozen=True)
class Shown:
    """What is known of one exemplar: a map (H, W) by a person's drawing, or by likeness and by its class's name."""

    map: Tensor
    is_drawn: bool = False
    by_name: Tensor | None = None
    is_taught: bool = False  # whether the name was learned with masks

    @property
    def is_open(self) -> bool:
        """What a person drew needs no agreement, and a taught name is taken at its word."""
        return not (self.is_drawn or self.is_taught)

    @property
    def agreement(self) -> float:
        """Of likeness and name about places, 0 to 1."""
        if self.by_name is None or not self.is_open:
            return 0.0
        return between(alike(self.map, self.by_name), *NAME_AGREES)

    @property
    def likely(self) -> Tensor:
        """How likely each place shows the class."""
        return fuse(self.map, self.by_name) if self.is_open else self.sure

    @property
    def sure(self) -> Tensor:
        """The same, where doubt speaks against the class."""
        if self.is_drawn:
            return self.map
        if self.by_name is None:
            return self.map**NAMELESS_DOUBT
        return unmasked_map(self.map, self.by_name, self.is_taught)

    def against(self, inside: Tensor) -> Tensor:
        """How much each place speaks against the class, if it speaks so much for the class."""
        return (1 - inside) ** DRAWN_OUTSIDE if self.is_drawn else 1 - inside


@dataclass(frozen=True)
class OwnMaps:
    """How much each place speaks for the class and against it, each (K, H, W), and how far that is agreed upon (K,).

    `are_drawn`: whether people drew any of them. `is_open`: whether nobody drew on any, and their name was not learned
    with masks.
    """

    inside: Tensor
    outside: Tensor
    agreement: Tensor
    are_drawn: bool = False
    is_open: bool = False


@torch.no_grad()
def own_maps(net: TLG | None, shots: Features, shown: Sequence[Shown]) -> OwnMaps:
    """Of a class with these exemplars, as `net` reads them."""
    are_drawn, is_open = any(exemplar.is_drawn for exemplar in shown), all(exemplar.is_open for exemplar in shown)
    return replace(_own_maps(net, shots, shown), are_drawn=are_drawn, is_open=is_open)


def _own_maps(net: TLG | None, shots: Features, shown: Sequence[Shown]) -> OwnMaps:
    if net is None or net.reads_query_prior:
        likely_KHW = torch.stack([exemplar.likely for exemplar in shown])
        return OwnMaps(likely_KHW, 1 - likely_KHW, likely_KHW.new_zeros(len(shown)))
    if len(shown) == 1:
        return _only(net, shots, shown[0])
    sure_KHW, likely_KHW = (
        torch.stack([exemplar.sure for exemplar in shown]),
        torch.stack([exemplar.likely for exemplar in shown]),
    )
    agreement_K = sure_KHW.new_tensor([exemplar.agreement for exemplar in shown])
    open_rows = [row for row, exemplar in enumerate(shown) if exemplar.is_open]
    against_KHW = torch.stack([exemplar.against(sure_HW) for exemplar, sure_HW in zip(shown, sure_KHW, strict=True)])
    first = _mixed(sure_KHW, against_KHW, likely_KHW, agreement_K)
    if not open_rows:
        return first
    overlaps = []
    for row in open_rows:
        others = [(row + step) % len(shown) for step in range(1, min(len(shown), MOST_OTHERS + 1))]
        support = net.encode_support(shots[others], first.inside[others], None, first.outside[others])
        odds_HW = _answer(net, shots[[row]], support)
        overlaps.append(soft_overlap(odds_HW.sigmoid(), likely_KHW[row]))
        likely_KHW[row] = torch.sigmoid((odds_HW + bounded_log_odds(likely_KHW[row])) / 2)
    among_them = between(sum(overlaps) / len(overlaps), *OTHERS_AGREE)
    agreement_K[open_rows] = agreement_K[open_rows].clamp_min(among_them)
    return _mixed(sure_KHW, against_KHW, likely_KHW, agreement_K)


def _only(net: TLG, shot: Features, exemplar: Shown) -> OwnMaps:
    """An only exemplar has no place to spare: what is doubtful speaks against the class as far as it is unlikely."""
    sure_1HW, likely_1HW, agreement = exemplar.sure[None], exemplar.likely[None], exemplar.agreement
    own = _mixed(sure_1HW, exemplar.against(likely_1HW), likely_1HW, likely_1HW.new_tensor([agreement]))
    is_nameless = exemplar.by_name is None
    if not exemplar.is_open or not (is_nameless or agreement):
        return own
    support = net.encode_support(shot, own.inside, None, own.outside, are_drawn=False)
    first_1HW = bounded_log_odds(likely_1HW)
    mended_1HW = (_answer(net, shot, support) + first_1HW) / 2 + net.extent(own.inside)
    if is_nameless:
        # Nobody else knows how large the thing is: its picture says.
        return replace(own, inside=torch.sigmoid(mended_1HW + reach(mended_1HW[0], net.finest(shot)[0])))
    # As far as name and likeness agree: an answer to a wrong map makes it worse.
    mended_1HW = torch.lerp(first_1HW, mended_1HW, agreement)
    return replace(own, inside=torch.lerp(sure_1HW, torch.sigmoid(mended_1HW), agreement))


def _answer(net: TLG, shot: Features, support: Support) -> Tensor:
    """(H, W): log-odds of the class in an exemplar."""
    logits_2HW = net.segment(shot, None, [support], None)[0, 0].float()
    return logits_2HW[1] - logits_2HW[0]


def soft_overlap(one_HW: Tensor, other_HW: Tensor) -> float:
    return float(torch.minimum(one_HW, other_HW).sum() / torch.maximum(one_HW, other_HW).sum())


def _mixed(sure_KHW: Tensor, against_KHW: Tensor, likely_KHW: Tensor, agreement_K: Tensor) -> OwnMaps:
    """`likely` maps as far as they are agreed upon, otherwise what is sure and what speaks against it."""
    weight_K11 = agreement_K[:, None, None]
    inside_KHW = torch.lerp(sure_KHW, likely_KHW, weight_K11)
    outside_KHW = torch.lerp(against_KHW, (1 - likely_KHW) ** SURELY_OUTSIDE, weight_K11)
    return OwnMaps(inside_KHW, outside_KHW, agreement_K)
