"""Where is the class? From exemplars that carry nothing but the class name.

1. Saliency: places unlike what ordinary pictures hold (see background.py), with a mild preference for the middle.
2. A random walk over each picture's own likeness holds objects together.
3. Query and exemplars vote for one another (see cosegment.py); a mask, where an exemplar has one, is taken as known.
4. Where several asked classes are in the picture, a place goes to the class whose exemplars it resembles most.

Shapes: B queries, N classes, S exemplars, H x W the input size, h x w the fine grid, L = h * w, D descriptor width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.errors import SpecError
from tlg.evidence.background import Background, background_tokens, commonness, pooled_deepest
from tlg.evidence.cosegment import SLOPE, THRESHOLD, ClassMemory, Walk, standardised
from tlg.evidence.descriptors import Described, DescriptorSpace, deep_maps, spread_tokens
from tlg.evidence.presence import ClassPresence, fit_class, presence
from tlg.evidence.refine import refine
from tlg.network.features import Features

CENTRE_WEIGHT = 0.7
CENTRE_SIGMA = 0.8
# Bound the votes' cost: beyond FINE_SHOTS exemplars of a class their coarse grids vote, and beyond MAX_PLACES a sample.
FINE_SHOTS = 2
MAX_PLACES = 1440

Exemplar = tuple[Features, int | None, Tensor | None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Prior:
    """The exemplar prior: its background belongs to the backbone; without one, exemplars must do."""

    background: Background | None = None

    def of_use(self, features: Features) -> Features:
        """What `fit` reads of an exemplar's features, in memory of its own: the rest can be freed."""
        chosen = self.background.space.chosen if self.background else deep_maps(features.maps)
        return without_shallow_maps(features, chosen)

    @torch.no_grad()
    def fit(self, exemplars: Iterable[Exemplar]) -> FittedPrior:
        """Each exemplar is (features of one image, class index or None for a negative, mask (H, W) or None).

        Features are given up as soon as they are described: of 1,500 exemplars these would be the largest part.
        """
        features, labels, masks = [], [], []
        for seen, label, mask in exemplars:
            features.append(self.of_use(seen))
            labels.append(label)
            masks.append(mask)
        classes = 1 + max((label for label in labels if label is not None), default=-1)
        missing = sorted(set(range(classes)) - set(labels))
        if not classes or missing:
            which = f"class {missing[0]} of {classes} has none" if classes else "there are none"
            raise SpecError(f"the exemplar prior needs at least one exemplar per class; {which}")
        pooled_SC = torch.cat([pooled_deepest(picture) for picture in features])
        size = features[0].size
        space = self.background.space if self.background else DescriptorSpace.fit(features)
        described = Described.gathered(map(space.describe, handed_over(features)), len(labels))
        negatives = [row for row, label in enumerate(labels) if label is None]
        common_MTD = _common_tokens(self.background, described, negatives)
        saliency_Shw = torch.cat([saliency(described[[row]], common_MTD) for row in range(len(described))])
        memories, presences = [], []
        known = [self.background.pooled.to(pooled_SC)] if self.background else []
        for index in range(classes):
            rows = [row for row, label in enumerate(labels) if label == index]
            others = [row for row, label in enumerate(labels) if label != index]
            memories.append(_remember(described, saliency_Shw, masks, rows))
            presences.append(fit_class(pooled_SC[rows], torch.cat([*known, pooled_SC[others]])))
        own_maps_SHW = exemplar_maps(memories, described, saliency_Shw, labels, masks, size)
        return FittedPrior(space, common_MTD, tuple(memories), tuple(presences), own_maps_SHW)


@dataclass(frozen=True)
class FittedPrior:
    """An exemplar set, ready for queries. `support_maps` holds one map (H, W) in 0..1 per exemplar, in order."""

    space: DescriptorSpace
    common: Tensor | None  # (M, T, D)
    memories: tuple[ClassMemory, ...]
    presences: tuple[ClassPresence, ...]
    support_maps: Tensor  # (S, H, W)

    @property
    def classes(self) -> int:
        return len(self.memories)

    @torch.no_grad()
    def maps(self, query: Features, images_B3HW: Tensor | None = None, classes: Sequence[int] | None = None) -> Tensor:
        """(B, N, H, W) in 0..1 at the queries' input size; above 0.5 means class. Edges are refined by the images.

        Where `classes` names some, these alone are mapped and contend for places; the others cost nothing.
        """
        classes = range(self.classes) if classes is None else classes
        described = self.space.describe(query)
        memories = [self.memories[index] for index in classes]
        score_BNhw, density_BNhw = explain(memories, described, saliency(described, self.common))
        map_BNhw = as_probability(score_BNhw)
        map_BNhw = map_BNhw * ceded(density_BNhw, self.presence(query)[:, list(classes)])
        map_BNHW = F.interpolate(map_BNhw, size=query.size, mode="bilinear", align_corners=False)
        return map_BNHW if images_B3HW is None else refine(map_BNHW, images_B3HW)

    @torch.no_grad()
    def presence(self, query: Features) -> Tensor:
        """(B, N) probability that the class is in the picture."""
        return presence(self.presences, pooled_deepest(query))


def without_shallow_maps(features: Features, chosen: Sequence[int]) -> Features:
    """Maps that are not read made empty, in their place: 100 whole pyramids at once would take gigabytes."""
    read = {*chosen, len(features.maps) - 1}
    # Without the copy an empty view would keep the whole map.
    maps = [plane if index in read else plane[..., :0, :0].clone() for index, plane in enumerate(features.maps)]
    return Features(maps, features.size)


def explain(memories: Sequence[ClassMemory], described: Described, saliency_Bhw: Tensor) -> tuple[Tensor, Tensor]:
    """Score and class density (B, N, h, w) of every class; the picture's own affinity is made once for all."""
    grid = tuple(saliency_Bhw.shape[-2:])
    place_BLD = described.fine.flatten(2).transpose(1, 2)
    walk = Walk.within(place_BLD)
    start_BL = walk(saliency_Bhw.flatten(1))
    pairs = [memory.explain(place_BLD, start_BL, walk) for memory in memories]
    score_BNL, density_BNL = (torch.stack(planes, 1) for planes in zip(*pairs, strict=True))
    return score_BNL.unflatten(2, grid), density_BNL.unflatten(2, grid)


def exemplar_maps(
    memories: Sequence[ClassMemory],
    described: Described,
    saliency_Shw: Tensor,
    labels: Sequence[int | None],
    masks: Sequence[Tensor | None],
    size: tuple[int, int],
) -> Tensor:
    """(S, H, W): where each exemplar shows its own class, by the others' votes, or its mask; a negative's map is 0."""
    map_SHW = saliency_Shw.new_zeros((len(labels), *size))
    grid = tuple(saliency_Shw.shape[-2:])
    for row, (label, mask) in enumerate(zip(labels, masks, strict=True)):
        if mask is not None:
            map_SHW[row] = F.interpolate(mask[None, None].to(saliency_Shw), size=size, mode="nearest")[0, 0]
        elif label is not None:
            place_LD = described.fine[row].flatten(1).T
            shot = list(labels[:row]).count(label)
            score_L = memories[label].explain_own(shot, place_LD, saliency_Shw[row].flatten(), Walk.within(place_LD))
            map_11hw = as_probability(score_L.view(1, 1, *grid))
            map_SHW[row] = F.interpolate(map_11hw, size=size, mode="bilinear", align_corners=False)[0, 0]
    return map_SHW


def handed_over(items: list[Item]) -> Iterator[Item]:
    """Item by item, each taken out of the list: whoever receives them alone keeps them alive."""
    while items:
        yield items.pop(0)


def as_probability(score_BNhw: Tensor) -> Tensor:
    """0.5 midway between the fixed threshold and the one that best splits this very map in two (Otsu)."""
    split_BN11 = otsu(score_BNhw.flatten(2))[..., None, None]
    return torch.sigmoid(SLOPE * (score_BNhw - (THRESHOLD + split_BN11) / 2))


def otsu(score_BNL: Tensor) -> Tensor:
    """(B, N): the value that leaves the two sides most alike within; exact, by trying every place's score."""
    ranked = score_BNL.sort(-1).values
    count = ranked.shape[-1]
    if count < 2:
        return ranked[..., 0]
    below = torch.arange(1, count, device=ranked.device)
    lower_sum = ranked.cumsum(-1)[..., :-1]
    total = ranked.sum(-1, keepdim=True)
    lower, upper = lower_sum / below, (total - lower_sum) / (count - below)
    best = (below * (count - below) * (upper - lower).square()).argmax(-1, keepdim=True)
    return ((ranked.gather(-1, best) + ranked.gather(-1, best + 1)) / 2)[..., 0]


def ceded(density_BNhw: Tensor, presence_BN: Tensor) -> Tensor:
    """(B, N, h, w) in 0..1: 1 where no present rival's exemplars resemble the place more, less where one does."""
    rival_BNhw = density_BNhw * presence_BN[..., None, None]
    if density_BNhw.shape[1] < 2:
        return torch.ones_like(density_BNhw)
    best_two = rival_BNhw.topk(2, dim=1)
    classes = torch.arange(density_BNhw.shape[1], device=density_BNhw.device)[None, :, None, None]
    leads = best_two.indices[:, :1] == classes
    strongest_BNhw = torch.where(leads, best_two.values[:, 1:], best_two.values[:, :1])
    return (2 * density_BNhw / (density_BNhw + strongest_BNhw).clamp_min(1e-12)).clamp_max(1)


def saliency(described: Described, common_MTD: Tensor | None) -> Tensor:
    """(B, h, w), mean 0 and deviation 1 per image: how far a place stands out from what pictures usually hold."""
    grid = described.fine.shape[-2:]
    if common_MTD is None:
        common_Bhw = likeness_to_border(described.coarse)
    else:
        common_Bhw = commonness(described.coarse, common_MTD)
    rare_Bhw = F.interpolate(-common_Bhw[:, None], size=grid, mode="bilinear", align_corners=False)[:, 0]
    total_BL = standardised(rare_Bhw.flatten(1)) + CENTRE_WEIGHT * middle(grid).flatten().to(rare_Bhw)
    return standardised(total_BL).unflatten(1, tuple(grid))


def likeness_to_border(coarse_BDhw: Tensor) -> Tensor:
    """(B, h, w): mean similarity to the five most similar places of the picture's own rim."""
    rim = torch.zeros(coarse_BDhw.shape[-2:], dtype=torch.bool, device=coarse_BDhw.device)
    rim[0], rim[-1], rim[:, 0], rim[:, -1] = True, True, True, True
    sim_BhwR = torch.einsum("bdhw,bdr->bhwr", coarse_BDhw, coarse_BDhw.flatten(2)[:, :, rim.flatten()])
    return sim_BhwR.topk(min(5, sim_BhwR.shape[3]), dim=3).values.mean(3)


def middle(grid: Sequence[int]) -> Tensor:
    """(h, w): a bump on the middle of the picture, in its own deviations."""
    y, x = (torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in grid)
    bump_hw = torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * CENTRE_SIGMA**2))
    return standardised(bump_hw.flatten()).view_as(bump_hw)


def _remember(
    described: Described, saliency_Shw: Tensor, masks: Sequence[Tensor | None], rows: Sequence[int]
) -> ClassMemory:
    places_KDhw = (described.fine if len(rows) <= FINE_SHOTS else described.coarse)[list(rows)]
    grid = (places_KDhw.shape[2], places_KDhw.shape[3])
    saliency_Khw = F.adaptive_avg_pool2d(saliency_Shw[list(rows)], grid)
    pinned_Khw = torch.full_like(saliency_Khw, float("nan"))
    for position, row in enumerate(rows):
        mask = masks[row]
        if mask is not None:
            pinned_Khw[position] = F.adaptive_avg_pool2d(mask[None, None].to(saliency_Khw), grid)[0, 0]
    count = max(1, MAX_PLACES // len(rows))
    places_KPD = spread_tokens(places_KDhw, count)
    saliency_KP = standardised(spread_tokens(saliency_Khw[:, None], count)[..., 0])
    return ClassMemory.of(places_KPD, saliency_KP, spread_tokens(pinned_Khw[:, None], count)[..., 0])


def _common_tokens(background: Background | None, described: Described, negatives: list[int]) -> Tensor | None:
    own = [background_tokens(described)[negatives]] if negatives else []
    known = [background.tokens.to(described.coarse)] if background else []
    if not own and not known:
        return None
    return torch.cat([*known, *own])
