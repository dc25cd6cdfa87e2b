"""Where is the class? From exemplars that carry nothing but the class name.

1. Saliency: places unlike what ordinary pictures hold (see background.py), with a mild preference for the middle.
2. Each exemplar's own saliency (or its mask) splits its places softly into class and surroundings.
3. A query place takes the vote of the exemplar places most like it; vote and the query's own saliency are added.

Shapes: B queries, N classes, H x W the input size, h x w the fine grid, L = h * w, T exemplar tokens of one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.errors import SpecError
from tlg.model.features import Features
from tlg.prior.background import Background, background_tokens, commonness, pooled_deepest
from tlg.prior.descriptors import Described, DescriptorSpace, spread_tokens
from tlg.prior.presence import ClassPresence, fit_class, presence

CENTRE_WEIGHT = 1.0
CENTRE_SIGMA = 0.8
VOTE_WEIGHT = 1.5
VOTE_TEMPERATURE = 0.07
# In deviations of an image's own score: where a place is as likely class as not, and how fast that changes.
THRESHOLD = 0.4
SLOPE = 2.0
# Bounds the vote's cost: so many places of all exemplars of one class together.
MAX_CLASS_TOKENS = 576

Exemplar = tuple[Features, int | None, Tensor | None]


@dataclass(frozen=True)
class Prior:
    """Settings of the exemplar prior: a background that belongs to the backbone, or None (exemplars must do)."""

    background: Background | None = None

    @torch.no_grad()
    def fit(self, exemplars: Sequence[Exemplar]) -> FittedPrior:
        """Each exemplar is (features of one image, class index or None for a negative, mask (H, W) or None)."""
        labels = [label for _, label, _ in exemplars]
        classes = 1 + max((label for label in labels if label is not None), default=-1)
        missing = sorted(set(range(classes)) - set(labels))
        if not classes or missing:
            which = f"class {missing[0]} of {classes} has none" if classes else "there are none"
            raise SpecError(f"the exemplar prior needs at least one exemplar per class; {which}")
        features = Features.cat([one for one, _, _ in exemplars])
        space = self.background.space if self.background else DescriptorSpace.fit([features])
        described = space.describe(features)
        negatives = [row for row, label in enumerate(labels) if label is None]
        common_MTD = _common_tokens(self.background, described, negatives)
        saliency_Shw = saliency(described, common_MTD)
        weight_Shw = torch.sigmoid(SLOPE * (saliency_Shw - THRESHOLD))
        for row, (_, _, mask) in enumerate(exemplars):
            if mask is not None:
                weight_Shw[row] = _mask_on_grid(mask, weight_Shw.shape[-2:]).to(weight_Shw)
        tokens, weights = [], []
        for index in range(classes):
            rows = [row for row, label in enumerate(labels) if label == index]
            share = max(1, MAX_CLASS_TOKENS // len(rows))
            tokens.append(spread_tokens(described.fine[rows], share).flatten(0, 1))
            weights.append(spread_tokens(weight_Shw[rows, None], share).flatten())
        support_maps_SHW = F.interpolate(weight_Shw[:, None], size=features.size, mode="bilinear", align_corners=False)[
            :, 0
        ]
        pooled_SC = pooled_deepest(features)
        known = [self.background.pooled.to(pooled_SC)] if self.background else []
        presences = []
        for index in range(classes):
            rows = [row for row, label in enumerate(labels) if label == index]
            other = [row for row, label in enumerate(labels) if label != index]
            presences.append(fit_class(pooled_SC[rows], torch.cat([*known, pooled_SC[other]])))
        return FittedPrior(space, common_MTD, tuple(tokens), tuple(weights), support_maps_SHW, tuple(presences))


@dataclass(frozen=True)
class FittedPrior:
    """An exemplar set, ready for queries. `support_maps` holds one map (H, W) in 0..1 per exemplar, in order."""

    space: DescriptorSpace
    common: Tensor | None  # (M, T, D)
    tokens: tuple[Tensor, ...]  # per class (T, D)
    weights: tuple[Tensor, ...]  # per class (T,): how much the place belongs to the class
    support_maps: Tensor
    presences: tuple[ClassPresence, ...]

    @property
    def classes(self) -> int:
        return len(self.tokens)

    @torch.no_grad()
    def maps(self, query: Features) -> Tensor:
        """(B, N, H, W) in 0..1 at the queries' input size; above 0.5 means class."""
        grid_BNhw = torch.sigmoid(SLOPE * (self.scores(query) - THRESHOLD))
        return F.interpolate(grid_BNhw, size=query.size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def presence(self, query: Features) -> Tensor:
        """(B, N) probability that the class is in the picture."""
        return presence(self.presences, pooled_deepest(query))

    @torch.no_grad()
    def scores(self, query: Features) -> Tensor:
        """(B, N, h, w), in deviations of each image's own score."""
        described = self.space.describe(query)
        own_BLhw = saliency(described, self.common)
        place_BLD = described.fine.flatten(2).transpose(1, 2)
        votes = []
        for tokens_TD, weight_T in zip(self.tokens, self.weights, strict=True):
            likeness_BLT = torch.softmax(place_BLD @ tokens_TD.T.to(place_BLD) / VOTE_TEMPERATURE, dim=2)
            votes.append(likeness_BLT @ weight_T.to(place_BLD))
        vote_BNhw = torch.stack(votes, 1).unflatten(2, tuple(own_BLhw.shape[-2:]))
        return standardised(own_BLhw[:, None] + VOTE_WEIGHT * standardised(vote_BNhw))


def saliency(described: Described, common_MTD: Tensor | None) -> Tensor:
    """(B, h, w), mean 0 and deviation 1 per image: how far a place stands out from what pictures usually hold."""
    grid = described.fine.shape[-2:]
    if common_MTD is None:
        common_Bhw = likeness_to_border(described.coarse)
    else:
        common_Bhw = commonness(described.coarse, common_MTD)
    rare_Bhw = F.interpolate(-common_Bhw[:, None], size=grid, mode="bilinear", align_corners=False)[:, 0]
    return standardised(standardised(rare_Bhw) + CENTRE_WEIGHT * middle(grid).to(rare_Bhw))


def likeness_to_border(coarse_BDhw: Tensor) -> Tensor:
    """(B, h, w): mean similarity to the five most similar places of the picture's own rim."""
    rim = torch.zeros(coarse_BDhw.shape[-2:], dtype=torch.bool)
    rim[0], rim[-1], rim[:, 0], rim[:, -1] = True, True, True, True
    sim_BhwR = torch.einsum("bdhw,bdr->bhwr", coarse_BDhw, coarse_BDhw.flatten(2)[:, :, rim.flatten()])
    return sim_BhwR.topk(min(5, sim_BhwR.shape[3]), dim=3).values.mean(3)


def middle(grid: Sequence[int]) -> Tensor:
    """(h, w): a bump on the middle of the picture, in its own deviations."""
    y, x = (torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in grid)
    return standardised(torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * CENTRE_SIGMA**2)))


def standardised(map_hw: Tensor) -> Tensor:
    """Mean 0, deviation 1 over the last two axes; a constant map becomes 0."""
    centred = map_hw - map_hw.mean((-2, -1), keepdim=True)
    return centred / centred.square().mean((-2, -1), keepdim=True).sqrt().clamp_min(1e-6)


def _common_tokens(background: Background | None, described: Described, negatives: list[int]) -> Tensor | None:
    own = [background_tokens(described)[negatives]] if negatives else []
    known = [background.tokens.to(described.coarse)] if background else []
    if not own and not known:
        return None
    return torch.cat([*known, *own])


def _mask_on_grid(mask_HW: Tensor, grid: Sequence[int]) -> Tensor:
    return F.adaptive_avg_pool2d(mask_HW[None, None].float(), (grid[0], grid[1]))[0, 0]
