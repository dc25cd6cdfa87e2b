"""Answers few-shot episodes by a network that reads its exemplars, one by one, as an annotator does.

Shapes: K shots, H x W the input size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlg.datasets.episodes import Episode, Photo
from tlg.evaluation.answerers import MaskReader, PhotoFeatures, believed, shown_map, true_masks
from tlg.evidence import Prior
from tlg.evidence.exemplar import FittedPrior
from tlg.evidence.names.evidence import NameEvidence
from tlg.evidence.names.said import said
from tlg.evidence.own_maps import Shown, own_maps
from tlg.evidence.reach import Witnesses
from tlg.evidence.readiness import readiness
from tlg.network.features import Features
from tlg.network.named import Named
from tlg.network.tlg import TLG
from tlg.training.spec import Part

# What becomes of a class's readiness where a part of it is left out.
LEFT_OUT: dict[Part | None, dict[str, Any]] = {"extent": {"extent": 0.0}, "reach": {"asks_picture": 0.0}}


class ReadingNetwork:
    """`masks` gives the supports' true masks in place of their own maps, `source` says who knows a name, and `without`
    names a part that is left out."""

    def __init__(
        self,
        net: TLG,
        prior: Prior,
        features: PhotoFeatures,
        mirrored: bool,
        masks: MaskReader | None,
        source: Callable[[str], NameEvidence | None],
        without: Part | None,
    ) -> None:
        self.net, self.prior, self.features, self.mirrored = net.eval(), prior, features, mirrored
        self.masks, self.source, self.without = masks, source, without
        self.reads_support_masks = masks is not None

    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]:
        return self.features.answers(torch.stack([*map(self._margin, episodes, names)]), episodes)

    @torch.inference_mode()
    def _margin(self, episode: Episode, name: str) -> Tensor:
        """(H, W) log-odds of the class."""
        margin_HW = _Question(self, episode, name, is_mirrored=False).margin()
        if not self.mirrored:
            return margin_HW
        return margin_HW + _Question(self, episode, name, is_mirrored=True).margin().flip(-1)


class _Question:
    """One episode as `of` sees it, or its mirror image."""

    def __init__(self, of: ReadingNetwork, episode: Episode, name: str, is_mirrored: bool) -> None:
        self.of, self.episode, self.is_mirrored = of, episode, is_mirrored
        self.query = of.features.of([episode.query], is_mirrored)
        self.shots = of.features.of(episode.supports, is_mirrored)
        self.asked = of.source(name)
        self.source = believed(self.asked, episode, of.features, is_mirrored)
        masks = None if of.masks is None else true_masks(of.masks, episode, of.features, is_mirrored)
        self.drawn: list[Tensor | None] = [None] * len(self.shots) if masks is None else [*masks]

    def margin(self) -> Tensor:
        """(H, W): log-odds as an annotator has them of a class with these exemplars."""
        net, without = self.of.net, self.of.without
        own = own_maps(net, self.shots, self._shown())
        inside, outside = (None, None) if without == "own maps" else (own.inside, own.outside)
        support = net.encode_support(self.shots, inside, None, outside, own.are_drawn)
        named = self._said(self.episode.query, self.query)
        logits_2HW = net.segment(self.query, None, [support], None, named)[0, 0]
        told = readiness(net, self.of.prior, self.shots, own, self.drawn, self._said_of_exemplar)
        told = replace(told, **LEFT_OUT.get(without, {}))
        by_name_HW = None if named is None else named.place[0, 0].sigmoid()
        witnesses = Witnesses(net.finest(self.query)[0], self._prior_map, by_name_HW, self._name_odds)
        return told.applied(logits_2HW[1] - logits_2HW[0], witnesses)

    @cached_property
    def fitted(self) -> FittedPrior:
        return self.of.prior.fit([(self.shots[[k]], 0, mask_HW) for k, mask_HW in enumerate(self.drawn)])

    def _prior_map(self) -> Tensor:
        return self.fitted.maps(self.query)[0, 0]

    def _shown(self) -> list[Shown]:
        if self.of.masks is not None:
            return [Shown(mask_HW, is_drawn=True) for mask_HW in self.drawn if mask_HW is not None]
        return [
            shown_map(self.source, photo, map_HW, self.of.features, self.is_mirrored)
            for photo, map_HW in zip(self.episode.supports, self.fitted.support_maps, strict=True)
        ]

    def _said_of_exemplar(self, shot: int) -> Named | None:
        return self._said(self.episode.supports[shot], self.shots[[shot]])

    def _said(self, photo: Photo, features: Features) -> Named | None:
        """What the class's name says of a photograph."""
        if self.source is None:
            return None
        seen_1 = self.of.features.seen_by(self.source, [photo], self.is_mirrored)
        return said(self.source, seen_1, [0], self.source.known, features.size)

    def _name_odds(self) -> float:
        if self.asked is None:
            return 0.0
        return float(
            self.asked.odds(self.of.features.seen_by(self.asked, [self.episode.query], self.is_mirrored))[0, 0]
        )
