"""Training episodes drawn from a pool: a batch is a function of the seed and the step, so that a run can resume."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tlg.errors import SpecError
from tlg.network.features import Features
from tlg.training.batches.collage import coarsest_side, collage, draw_cuts, same_class
from tlg.training.batches.feature_bank import FeatureSource
from tlg.training.batches.pool import PLAIN, UNKNOWN, Pool
from tlg.training.batches.pseudo_mask_views import PseudoMaskViews

TRIES = 12
LOSS_IGNORES = 255


@dataclass(frozen=True)
class Batch:
    """B episodes of S shots. Truths are 1 where the class is, 0 elsewhere, 255 where nothing is known."""

    query: Features  # B images
    support: Features  # B * S images
    query_truth: Tensor  # (B, h, w)
    support_truth: Tensor  # (B, S, h, w)
    class_ids: list[int]
    class_names: list[str]
    things: Tensor  # (B,) bool: the class is not one of the surroundings
    shots: int
    priors: tuple[Tensor, Tensor] | None = None  # (B, H, W) and (B, S, H, W) where pseudo-masks are read from files

    def to(self, device: torch.device) -> Batch:
        return replace(
            self,
            query=self.query.to(device),
            support=self.support.to(device),
            query_truth=self.query_truth.to(device),
            support_truth=self.support_truth.to(device),
            things=self.things.to(device),
            priors=None if self.priors is None else (self.priors[0].to(device), self.priors[1].to(device)),
        )


class EpisodeSampler:
    """Draws episodes class by class.

    `share` weighs the collections (by position in the pool), `surroundings` are classes such as grass or sky: they
    are drawn with probability `surroundings_share` and else left to the background. `collage_share` of the queries
    become collages.
    """

    def __init__(
        self,
        pool: Pool,
        share: Mapping[int, float],
        surroundings: frozenset[str],
        surroundings_share: float,
        min_area: float,
        collage_share: float,
        pseudo_masks: PseudoMaskViews | None = None,
    ) -> None:
        self.pool, self.surroundings_share, self.min_area = pool, surroundings_share, min_area
        self.collage_share, self.pseudo_masks = collage_share, pseudo_masks
        usable = {i: c for i, c in pool.classes.items() if len(c.photos) >= 2}
        self.stuff = [i for i, c in usable.items() if c.name in surroundings]
        self.things: dict[int, list[int]] = {}
        for i, c in usable.items():
            if c.name not in surroundings:
                self.things.setdefault(c.source, []).append(i)
        self.sources = sorted(self.things)
        if not self.sources:
            raise SpecError(
                "no class is shown by two photographs: give more base photographs or hold out another share"
            )
        self.weights = [share.get(source, 1.0) for source in self.sources]

    def draw_class(self, rng: random.Random) -> int:
        if self.stuff and rng.random() < self.surroundings_share:
            return rng.choice(self.stuff)
        (source,) = rng.choices(self.sources, self.weights)
        return rng.choice(self.things[source])

    def draw_view(self, rng: random.Random, class_id: int, not_of: set[int], features: FeatureSource) -> tuple:
        """A view that shows enough of the class, of a photograph outside `not_of` where there is one."""
        photos = self.pool.classes[class_id].photos
        for _ in range(TRIES):
            position, variant = rng.choice(photos), rng.randrange(features.variants)
            if position in not_of:
                continue
            area = (features.label(position, variant) == class_id).float().mean().item()
            if area >= self.min_area:
                return position, variant
        others = [position for position in photos if position not in not_of]
        return rng.choice(others or photos), PLAIN

    def batch(self, key: str, size: int, shots: int, features: FeatureSource) -> Batch:
        """The batch named `key` (seed, step and process)."""
        rng = random.Random(key)
        classes = [self.draw_class(rng) for _ in range(size)]
        queries, supports = [], []
        for class_id in classes:
            query = self.draw_view(rng, class_id, set(), features)
            queries.append(query)
            taken = {query[0]}
            for _ in range(shots):
                support = self.draw_view(rng, class_id, taken, features)
                supports.append(support)
                taken.add(support[0])
        query_features = features.features(queries)
        query_labels = torch.stack([features.label(*view) for view in queries])
        cuts = draw_cuts(rng, size, self.collage_share, coarsest_side(query_features))
        query_features, query_labels = collage(query_features, query_labels, cuts)
        support_labels = torch.stack([features.label(*view) for view in supports])
        per_support = [class_id for class_id in classes for _ in range(shots)]
        support_truth = same_class(support_labels, per_support, UNKNOWN, LOSS_IGNORES)
        return Batch(
            query_features,
            features.features(supports),
            same_class(query_labels, classes, UNKNOWN, LOSS_IGNORES),
            support_truth.view(size, shots, *support_truth.shape[1:]),
            classes,
            [self.pool.classes[class_id].name for class_id in classes],
            torch.tensor([class_id not in self.stuff for class_id in classes]),
            shots,
            None if self.pseudo_masks is None else self.pseudo_masks.of_episodes(classes, queries, supports, cuts),
        )
