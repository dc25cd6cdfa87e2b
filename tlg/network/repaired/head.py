"""The repaired behaviour: two unlike branches of one network, all of which trains.

The support branch segments the exemplars first, from their own priors; what it finds weighs the tokens that the query
branch is matched with. It needs no query, so a class is described once and kept.

Shapes: B queries, N classes, X = B * N pairs of image and class, A classes being described, K shots, I = A * K
exemplar images, M correlated maps, T tokens, S cells a side, C channels, D width,
H x W the working grid (the middle level's) or the input size, h x w a map's grid or the finest level's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone
from tlg.network.episode_answer import EpisodeAnswer
from tlg.network.features import Features
from tlg.network.repaired.aggregation import Aggregation, Branch, Merge, Visual
from tlg.network.repaired.correlation import Matched, Matching, prototype_similarity, resized, token_correlation, unit
from tlg.network.repaired.decoder import Decoder
from tlg.network.repaired.deep_aggregation import DeepAggregation
from tlg.network.repaired.squeeze import Squeeze
from tlg.network.repaired.transport import Transport
from tlg.network.spec import NetworkSpec
from tlg.network.support import RepairedSupport, condense
from tlg.network.text import TextModulation, TextVectors

# All shots of a class hand about this many tokens to the transport.
EXCHANGED_TOKENS = 64
# What a pseudo-mask says where nothing is known.
NOTHING_KNOWN = 0.5
# Pairs worked on at once: more gains nothing and costs memory.
PAIRS_AT_ONCE = 16


@dataclass(frozen=True)
class Look:
    """What the head takes from an image's features, whatever the class."""

    unit_maps: list[Tensor]  # the correlated maps (B, C, h, w), unit vectors
    visual: Visual | None  # None without aggregation
    working_grid: tuple[int, int]
    finest_grid: tuple[int, int]
    size: tuple[int, int]

    @property
    def objectness(self) -> Tensor | None:
        return None if self.visual is None else self.visual.objectness


def correlated_maps(backbone: Backbone) -> tuple[int, ...]:
    """The maps that are matched: the last of the finest level, the last two of every deeper one."""
    finest, *deeper = backbone.levels
    return (finest[-1], *(index for level in deeper for index in level[-2:]))


class RepairedHead(nn.Module):
    """Everything after the backbone."""

    def __init__(self, spec: NetworkSpec, backbone: Backbone) -> None:
        super().__init__()
        self.spec = spec
        self.correlated = correlated_maps(backbone)
        self.working_map = backbone.levels[1][-1]
        self.finest_map = backbone.levels[0][-1]
        maps, width = len(self.correlated), spec.width
        self.matching = Matching(maps)
        self.squeeze = Squeeze(maps, cues=maps * (Matching.CUES + 2) + spec.prior, width=width)
        if spec.aggregation:
            self.aggregation = (
                DeepAggregation(backbone, width, residual=spec.transport) if spec.deep else Aggregation(backbone, width)
            )
            self.merge = Merge(width)
        if spec.transport:
            self.transport = Transport(width)
            self.label = nn.Linear(1, width)
            if not spec.aggregation:
                self.residual = nn.Conv2d(width, width, 1)
        if spec.text:
            self.text = TextModulation(spec.text_dim, width)
        # A deep decoder sees the branch, what the squeeze says, the picture itself and where any object is.
        self.decoder = Decoder(
            width,
            inputs=3 * width + 1 if self.reads_deep else width,
            skip=width // 4 if spec.aggregation else 0,
            prior=spec.prior,
            deep=self.reads_deep,
            prior_trust=spec.prior_trust,
        )

    @property
    def reads_deep(self) -> bool:
        return self.spec.deep and self.spec.aggregation

    # ---- what the outside calls

    def episode(
        self,
        query: Features,
        support: Features,
        query_prior_BHW: Tensor | None,
        support_prior_BKHW: Tensor | None,
        shots: int,
        text: TextVectors | None,
    ) -> EpisodeAnswer:
        """Support images are B * K, class by class."""
        support_look, look = self._look(support, "support"), self._look(query, "query")
        described, support_logits = self._describe(support, support_look, shots, support_prior_BKHW, text)
        prior_BNhw = self._prior(None if query_prior_BHW is None else query_prior_BHW[:, None], query, len(query), 1)
        tokens = described.tokens
        matched = Matched(
            [token_correlation(plane, its) for plane, its in zip(look.unit_maps, tokens.foreground, strict=True)],
            [token_correlation(plane, its) for plane, its in zip(look.unit_maps, tokens.background, strict=True)],
            tokens.foreground_mass,
            tokens.background_mass,
            even_weights(tokens.foreground_mass, shots),
            shots,
        )
        query_logits = self._answer(look, matched, prior_BNhw, described.exchanged, text)
        return EpisodeAnswer(query_logits, support_logits, look.objectness, support_look.objectness)

    def encode_support(self, features: Features, prior_SHW: Tensor | None, text: TextVectors | None) -> RepairedSupport:
        prior = None if prior_SHW is None else prior_SHW[None]
        return self._describe(features, self._look(features, "support"), len(features), prior, text)[0]

    def segment(
        self,
        query: Features,
        query_prior_BNHW: Tensor | None,
        supports: Sequence[RepairedSupport],
        text: TextVectors | None,
    ) -> Tensor:
        B = len(query)
        look = self._look(query, "query")
        prior_BNhw = self._prior(query_prior_BNHW, query, B, len(supports))
        answers: dict[int, Tensor] = {}
        for rows in batches_of_equal_shots(supports, max(1, PAIRS_AT_ONCE // B)):
            some = [supports[row] for row in rows]
            exchanged = None
            if self.spec.transport:
                exchanged = torch.cat([peer.exchanged for peer in some if peer.exchanged is not None]).repeat(B, 1, 1)
            text_X = None if text is None else text[torch.tensor(rows).repeat(B)]
            matched = match_classes(look.unit_maps, some)
            logits = self._answer(look, matched, prior_BNhw[:, rows], exchanged, text_X).unflatten(0, (B, len(rows)))
            answers |= dict(zip(rows, logits.unbind(1), strict=True))
        return torch.stack([answers[row] for row in range(len(supports))], dim=1)

    # ---- the two branches

    def _describe(
        self, support: Features, look: Look, shots: int, prior_AKHW: Tensor | None, text: TextVectors | None
    ) -> tuple[RepairedSupport, Tensor]:
        """The support branch: each exemplar is matched with the other shots of its class (a single one with itself)."""
        classes = len(support) // shots
        prior_AKhw = self._prior(prior_AKHW, support, classes, shots)
        maps = [support.maps[index] for index in self.correlated]
        # A group of exemplars is matched with one another; without peers each is a group of its own.
        grouped_GLhw = prior_AKhw if self.spec.peers else prior_AKhw.flatten(0, 1)[:, None]
        groups, together = grouped_GLhw.shape[:2]
        tokens = condense(maps, grouped_GLhw, self.spec.support_grid)
        others_LL = (1 - torch.eye(together) if together > 1 else torch.ones(1, 1)).to(prior_AKhw)
        peers = max(1, together - 1)
        matched = Matched(
            [own_class_correlation(plane, its) for plane, its in zip(look.unit_maps, tokens.foreground, strict=True)],
            [own_class_correlation(plane, its) for plane, its in zip(look.unit_maps, tokens.background, strict=True)],
            others_only(tokens.foreground_mass, others_LL),
            others_only(tokens.background_mass, others_LL),
            others_LL.repeat(groups, 1) / peers,
            peers,
        )
        prior_I1hw = prior_AKhw.flatten(0, 1)[:, None]
        squeezed = self._squeeze(look, matched, prior_I1hw, "support")
        merged = squeezed if look.visual is None else self.merge(look.visual.context, squeezed)
        exchanged = self._exchanged(merged, grouped_GLhw)
        per_image = None if exchanged is None else exchanged.repeat_interleave(together, dim=0)
        text_I = None if text is None else text[torch.arange(classes).repeat_interleave(shots)]
        logits_I2hw = self._finish(look, look.visual, merged, squeezed, per_image, prior_I1hw, text_I, "support")

        masks_AKhw = logits_I2hw.softmax(dim=1)[:, 1].unflatten(0, (classes, shots))
        found = RepairedSupport(
            condense(maps, masks_AKhw, self.spec.support_grid), self._exchanged(merged, masks_AKhw), masks_AKhw
        )
        return found, resized(logits_I2hw, support.size).unflatten(0, (classes, shots))

    def _answer(
        self,
        look: Look,
        matched: Matched,
        prior_BNhw: Tensor,
        exchanged_XTD: Tensor | None,
        text_X: TextVectors | None,
    ) -> Tensor:
        """The query branch: logits (X, 2, H, W) for all pairs of the looked-at images with N classes."""
        squeezed = self._squeeze(look, matched, prior_BNhw, "query")
        N = prior_BNhw.shape[1]
        visual = look.visual if look.visual is None or N == 1 else look.visual.repeat_interleave(N)
        merged = squeezed if visual is None else self.merge(visual.context, squeezed)
        prior_X1hw = prior_BNhw.flatten(0, 1)[:, None]
        logits = self._finish(look, visual, merged, squeezed, exchanged_XTD, prior_X1hw, text_X, "query")
        return resized(logits, look.size)

    # ---- the steps both branches share

    def _look(self, features: Features, branch: Branch) -> Look:
        visual = self.aggregation(features.maps, branch) if self.spec.aggregation else None
        working, finest = (
            (features.maps[index].shape[-2], features.maps[index].shape[-1])
            for index in (self.working_map, self.finest_map)
        )
        return Look(
            [unit(features.maps[index], 1) for index in self.correlated], visual, working, finest, features.size
        )

    def _squeeze(self, look: Look, matched: Matched, prior_BNhw: Tensor, branch: Branch) -> Tensor:
        """E (X, D, H, W), from the correlations and the images' likeness with their own prior's inside and outside."""
        grid = look.working_grid
        cues = [resized(cue, grid) for cue in self.matching(matched)]
        for unit_BChw in look.unit_maps:
            for mask in (prior_BNhw, 1 - prior_BNhw):
                cues.append(resized(prototype_similarity(unit_BChw, mask), grid).reshape(-1, 1, *grid))
        if self.spec.prior:
            cues.append(F.adaptive_avg_pool2d(prior_BNhw, grid).reshape(-1, 1, *grid))

        X, K = matched.shot_weight.shape
        S = isqrt(matched.foreground_mass.shape[1] // K)
        mass_XT11 = matched.foreground_mass[:, :, None, None]
        weighted = [resized(torch.relu(correlation) * mass_XT11, grid) for correlation in matched.foreground]
        corr_XKSSMHW = torch.stack(weighted, dim=2).view(X, K, S, S, len(weighted), *grid)
        corr_XKMHWSS = corr_XKSSMHW.permute(0, 1, 4, 5, 6, 2, 3)
        return self.squeeze(corr_XKMHWSS, matched.shot_weight, torch.cat(cues, dim=1), branch)

    def _finish(
        self,
        look: Look,
        visual: Visual | None,
        merged_XDHW: Tensor,
        squeezed_XDHW: Tensor,
        exchanged_XTD: Tensor | None,
        prior_X1hw: Tensor,
        text: TextVectors | None,
        branch: Branch,
    ) -> Tensor:
        """Transport, text, decoder: logits (X, 2, h, w) on the finest grid."""
        branch_XDHW = merged_XDHW
        if exchanged_XTD is not None:
            residual = self.residual(squeezed_XDHW) if visual is None else visual.residual
            branch_XDHW = self.transport(branch_XDHW, exchanged_XTD, residual)
        if self.spec.text and text is not None:
            branch_XDHW = self.text(branch_XDHW, text, branch)
        prior = prior_X1hw if self.spec.prior else None
        if visual is None:
            return self.decoder(branch_XDHW + squeezed_XDHW, None, prior, look.finest_grid)
        if visual.objectness is None:
            return self.decoder(branch_XDHW + squeezed_XDHW, visual.skip, prior, look.finest_grid)
        seen = torch.cat([branch_XDHW, squeezed_XDHW, visual.context, visual.objectness], dim=1)
        return self.decoder(seen, visual.skip, prior, look.finest_grid)

    def _prior(self, prior: Tensor | None, features: Features, rows: int, columns: int) -> Tensor:
        """Priors of any size as (rows, columns, h, w) on the finest grid."""
        like = features.maps[self.finest_map]
        if prior is None or not self.spec.prior:
            return like.new_full((rows, columns, *like.shape[-2:]), NOTHING_KNOWN)
        return F.adaptive_avg_pool2d(prior.to(like.dtype), (like.shape[-2], like.shape[-1]))

    def _exchanged(self, merged_IDHW: Tensor, mask_AKhw: Tensor) -> Tensor | None:
        """The exemplars' tokens (A, T, D) for the transport, each told how much of it is the class."""
        if not self.spec.transport:
            return None
        classes, shots = mask_AKhw.shape[:2]
        side = max(2, isqrt(EXCHANGED_TOKENS // shots))
        tokens_ITD = F.adaptive_avg_pool2d(merged_IDHW, side).flatten(2).transpose(1, 2)
        mass_IT1 = F.adaptive_avg_pool2d(mask_AKhw.flatten(0, 1), side).flatten(1)[:, :, None]
        return (tokens_ITD + self.label(mass_IT1)).reshape(classes, -1, tokens_ITD.shape[-1])


def match_classes(unit_maps: Sequence[Tensor], supports: Sequence[RepairedSupport]) -> Matched:
    """Every image with every class, classes running fastest; their tokens are read where they lie, not gathered."""
    images, shots = len(unit_maps[0]), supports[0].shots
    many = [support.tokens for support in supports]
    foreground = [
        torch.stack([token_correlation(plane, its.foreground[index][0]) for its in many], dim=1).flatten(0, 1)
        for index, plane in enumerate(unit_maps)
    ]
    background = [
        torch.stack([token_correlation(plane, its.background[index][0]) for its in many], dim=1).flatten(0, 1)
        for index, plane in enumerate(unit_maps)
    ]
    foreground_mass = torch.cat([its.foreground_mass for its in many]).repeat(images, 1)
    background_mass = torch.cat([its.background_mass for its in many]).repeat(images, 1)
    weights = even_weights(foreground_mass, shots)
    return Matched(foreground, background, foreground_mass, background_mass, weights, shots)


def even_weights(like_XT: Tensor, shots: int) -> Tensor:
    return like_XT.new_full((len(like_XT), shots), 1 / shots)


def own_class_correlation(unit_IChw: Tensor, tokens_ATC: Tensor) -> Tensor:
    """Cosines (I, T, h, w) of each exemplar's positions with all tokens of its class, without copying the tokens."""
    I, C, h, w = unit_IChw.shape
    A, T = tokens_ATC.shape[:2]
    side_by_side = unit_IChw.unflatten(0, (A, -1)).transpose(1, 2).reshape(A, C, -1, w)
    cosines_ATKhw = token_correlation(side_by_side, tokens_ATC).view(A, T, -1, h, w)
    return cosines_ATKhw.transpose(1, 2).reshape(I, T, h, w)


def others_only(mass_AT: Tensor, others_KK: Tensor) -> Tensor:
    """Masses (A * K, T) as each shot sees them: zero where `others` is."""
    A, T = mass_AT.shape
    K = len(others_KK)
    return (others_KK[None, :, :, None] * mass_AT.view(A, 1, K, T // K)).reshape(A * K, T)


def batches_of_equal_shots(supports: Sequence[RepairedSupport], limit: int) -> list[list[int]]:
    """Positions of classes that can be worked on together, at most `limit` each."""
    by_shots: dict[int, list[int]] = {}
    for row, support in enumerate(supports):
        by_shots.setdefault(support.shots, []).append(row)
    return [rows[start : start + limit] for rows in by_shots.values() for start in range(0, len(rows), limit)]
