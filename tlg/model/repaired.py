"""The repaired behaviour: two unlike branches of one network, all of which trains.

The support branch segments the exemplars first, from their own priors; what it finds weighs the tokens that the query
branch is matched with. It needs no query, so a class is described once and kept.

Shapes: B queries, N classes, X pairs of image and class, K shots, I = B * K exemplar images, M correlated maps,
G = B (each query has its own exemplars) or 1 (all share them), T tokens, S cells a side, D width,
H x W the working grid (the middle level's), h x w a map's grid or the finest level's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.model.aggregation import Aggregation, Branch, Merge, Visual
from tlg.model.backbone import Backbone
from tlg.model.correlation import Matching, Tokens, condense, prototype_similarity, resized, token_correlation
from tlg.model.decoder import Decoder
from tlg.model.features import Features
from tlg.model.network_spec import NetworkSpec
from tlg.model.squeeze import Squeeze
from tlg.model.text import TextModulation, TextVectors
from tlg.model.transport import Transport

# All shots of a class hand about this many tokens to the transport.
EXCHANGED_TOKENS = 64
# Pairs worked on at once: more gains nothing and costs memory.
PAIRS_AT_ONCE = 16


@dataclass(frozen=True)
class RepairedSupport:
    """All shots of a class, condensed. Leading axis: one entry per class."""

    tokens: Tokens
    exchanged: Tensor | None  # (classes, T, D), what transport moves; None without transport
    masks: Tensor  # (classes, K, h, w), where the support branch saw the class

    @property
    def shots(self) -> int:
        return self.tokens.shots

    def to(self, target: torch.device | torch.dtype | str) -> RepairedSupport:
        tokens = Tokens(
            [one.to(target) for one in self.tokens.foreground],
            [one.to(target) for one in self.tokens.background],
            self.tokens.foreground_mass.to(target),
            self.tokens.background_mass.to(target),
            self.shots,
        )
        return RepairedSupport(
            tokens, None if self.exchanged is None else self.exchanged.to(target), self.masks.to(target)
        )

    @staticmethod
    def cat(supports: Sequence[RepairedSupport]) -> RepairedSupport:
        """Classes with equally many shots as one."""
        many = [one.tokens for one in supports]
        tokens = Tokens(
            [torch.cat(parts) for parts in zip(*(one.foreground for one in many), strict=True)],
            [torch.cat(parts) for parts in zip(*(one.background for one in many), strict=True)],
            torch.cat([one.foreground_mass for one in many]),
            torch.cat([one.background_mass for one in many]),
            supports[0].shots,
        )
        exchanged = [one.exchanged for one in supports if one.exchanged is not None]
        return RepairedSupport(
            tokens, torch.cat(exchanged) if exchanged else None, torch.cat([one.masks for one in supports])
        )


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
            self.aggregation = Aggregation(backbone, width)
            self.merge = Merge(width)
        if spec.transport:
            self.transport = Transport(width)
            self.label = nn.Linear(1, width)
            if not spec.aggregation:
                self.residual = nn.Conv2d(width, width, 1)
        if spec.text:
            self.text = TextModulation(spec.text_dim, width)
        self.decoder = Decoder(width, skip=width // 4 if spec.aggregation else 0, prior=spec.prior)

    # ---- what the outside calls

    def episode(
        self,
        query: Features,
        support: Features,
        query_prior_BHW: Tensor | None,
        support_prior_BKHW: Tensor | None,
        shots: int,
        text: TextVectors | None,
    ) -> tuple[Tensor, Tensor]:
        """Query logits (B, 2, H, W) and support logits (B, K, 2, H, W); support images are B * K, class by class."""
        described, support_logits = self._describe(support, shots, support_prior_BKHW, text)
        prior_B1HW = None if query_prior_BHW is None else query_prior_BHW[:, None]
        query_logits = self._answer(query, prior_B1HW, described, own=True, text=text)[:, 0]
        return query_logits, support_logits

    def encode_support(self, features: Features, prior_SHW: Tensor | None, text: TextVectors | None) -> RepairedSupport:
        prior = None if prior_SHW is None else prior_SHW[None]
        return self._describe(features, len(features), prior, text)[0]

    def segment(
        self,
        query: Features,
        query_prior_BNHW: Tensor | None,
        supports: Sequence[RepairedSupport],
        text: TextVectors | None,
    ) -> Tensor:
        answers: dict[int, Tensor] = {}
        for rows in batches_of_equal_shots(supports, max(1, PAIRS_AT_ONCE // len(query))):
            described = RepairedSupport.cat([supports[row] for row in rows])
            prior = None if query_prior_BNHW is None else query_prior_BNHW[:, rows]
            logits_BN2HW = self._answer(query, prior, described, own=False, text=None if text is None else text[rows])
            answers |= dict(zip(rows, logits_BN2HW.unbind(1), strict=True))
        return torch.stack([answers[row] for row in range(len(supports))], dim=1)

    # ---- the two branches

    def _describe(
        self, support: Features, shots: int, prior_BKHW: Tensor | None, text: TextVectors | None
    ) -> tuple[RepairedSupport, Tensor]:
        """The support branch: each exemplar is matched with the other shots of its class (a single one with itself)."""
        images = len(support)
        classes = images // shots
        prior_BKhw = self._prior(prior_BKHW, support, classes, shots)
        maps = [support.maps[index] for index in self.correlated]
        tokens = condense(maps, prior_BKhw, self.spec.support_grid)
        # Every shot sees the tokens of its class, weighted so that it does not see its own.
        foreground = [own_class_correlation(one, own, shots) for one, own in zip(maps, tokens.foreground, strict=True)]
        background = [own_class_correlation(one, own, shots) for one, own in zip(maps, tokens.background, strict=True)]
        others_KK = 1 - torch.eye(shots) if shots > 1 else torch.ones(1, 1)
        others_KK = others_KK.to(prior_BKhw)
        seen = replace(
            tokens,
            foreground_mass=others_only(tokens.foreground_mass, others_KK),
            background_mass=others_only(tokens.background_mass, others_KK),
        )
        peers = max(1, shots - 1)
        weight_IK = others_KK.repeat(classes, 1) / peers
        prior_I1hw = prior_BKhw.reshape(images, 1, *prior_BKhw.shape[-2:])

        squeezed = self._squeeze(support, foreground, background, seen, peers, weight_IK, prior_I1hw, "support")
        visual = self.aggregation(support.maps, "support") if self.spec.aggregation else None
        merged = squeezed if visual is None else self.merge(visual.context, squeezed)
        exchanged = self._exchanged(merged, prior_BKhw) if self.spec.transport else None
        per_image = None if exchanged is None else exchanged.repeat_interleave(shots, dim=0)
        text_I = None if text is None else text[torch.arange(classes).repeat_interleave(shots)]
        logits_I2hw = self._finish(support, merged, squeezed, visual, per_image, prior_I1hw, text_I, "support")

        masks_BKhw = logits_I2hw.softmax(dim=1)[:, 1].view(classes, shots, *logits_I2hw.shape[-2:])
        found = RepairedSupport(
            condense(maps, masks_BKhw, self.spec.support_grid),
            self._exchanged(merged, masks_BKhw) if self.spec.transport else None,
            masks_BKhw,
        )
        logits = resized(logits_I2hw, support.size)
        return found, logits.view(classes, shots, *logits.shape[1:])

    def _answer(
        self,
        query: Features,
        prior_BNHW: Tensor | None,
        described: RepairedSupport,
        own: bool,
        text: TextVectors | None,
    ) -> Tensor:
        """The query branch: logits (B, N, 2, H, W). `own`: class b belongs to query b alone, so N is 1."""
        B, K = len(query), described.shots
        N = 1 if own else len(described.masks)
        shape = (B, 1) if own else (1, N)
        tokens = described.tokens
        maps = [query.maps[index] for index in self.correlated]
        foreground, background = (
            [
                token_correlation(one, of_class.view(*shape, *of_class.shape[1:])).flatten(0, 1)
                for one, of_class in zip(maps, kind, strict=True)
            ]
            for kind in (tokens.foreground, tokens.background)
        )
        copies = 1 if own else B
        seen = replace(
            tokens,
            foreground_mass=tokens.foreground_mass.repeat(copies, 1),
            background_mass=tokens.background_mass.repeat(copies, 1),
        )
        weight_XK = torch.full((B * N, K), 1 / K).to(tokens.foreground_mass)
        prior_BNhw = self._prior(prior_BNHW, query, B, N)

        squeezed = self._squeeze(query, foreground, background, seen, K, weight_XK, prior_BNhw, "query")
        visual = None
        if self.spec.aggregation:
            seen_once = self.aggregation(query.maps, "query")
            visual = Visual(*(one.repeat_interleave(N, dim=0) for one in vars(seen_once).values()))
        merged = squeezed if visual is None else self.merge(visual.context, squeezed)
        exchanged = None if described.exchanged is None else described.exchanged.repeat(copies, 1, 1)
        text_X = None if text is None else text[torch.arange(len(described.masks)).repeat(copies)]
        prior_X1hw = prior_BNhw.reshape(B * N, 1, *prior_BNhw.shape[-2:])
        logits = self._finish(query, merged, squeezed, visual, exchanged, prior_X1hw, text_X, "query")
        return resized(logits, query.size).unflatten(0, (B, N))

    # ---- the steps both branches share

    def _squeeze(
        self,
        features: Features,
        foreground: list[Tensor],
        background: list[Tensor],
        tokens: Tokens,
        peers: int,
        shot_weight_XK: Tensor,
        prior_BNhw: Tensor,
        branch: Branch,
    ) -> Tensor:
        """Correlations (X, T, h, w) per map, and the image's likeness with its own prior's inside and outside: E."""
        grid = features.maps[self.working_map].shape[-2:]
        cues = [resized(one, grid) for one in self.matching(foreground, background, tokens, peers)]
        for index in self.correlated:
            for mask in (prior_BNhw, 1 - prior_BNhw):
                alike = prototype_similarity(features.maps[index], mask)
                cues.append(resized(alike, grid).reshape(-1, 1, *grid))
        if self.spec.prior:
            cues.append(F.adaptive_avg_pool2d(prior_BNhw, grid).reshape(-1, 1, *grid))

        X, K = shot_weight_XK.shape
        S = isqrt(tokens.foreground_mass.shape[1] // K)
        mass_XT11 = tokens.foreground_mass[:, :, None, None]
        weighted = [resized(torch.relu(one) * mass_XT11, grid) for one in foreground]
        corr_XKSSMHW = torch.stack(weighted, dim=2).view(X, K, S, S, len(weighted), *grid)
        corr_XKMHWSS = corr_XKSSMHW.permute(0, 1, 4, 5, 6, 2, 3)
        return self.squeeze(corr_XKMHWSS, shot_weight_XK, torch.cat(cues, dim=1), branch)

    def _finish(
        self,
        features: Features,
        merged_XDHW: Tensor,
        squeezed_XDHW: Tensor,
        visual: Visual | None,
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
        grid = tuple(features.maps[self.finest_map].shape[-2:])
        prior = resized(prior_X1hw, grid) if self.spec.prior else None
        return self.decoder(branch_XDHW + squeezed_XDHW, None if visual is None else visual.skip, prior, grid)

    def _prior(self, prior: Tensor | None, features: Features, rows: int, columns: int) -> Tensor:
        """Priors of any size as (rows, columns, h, w) on the finest grid; an even half where none are read."""
        like = features.maps[self.finest_map]
        if prior is None or not self.spec.prior:
            return like.new_full((rows, columns, *like.shape[-2:]), 0.5)
        return F.adaptive_avg_pool2d(prior.to(like.dtype), like.shape[-2:])

    def _exchanged(self, merged_IDHW: Tensor, mask_BKhw: Tensor) -> Tensor:
        """The exemplars' tokens (B, T, D) for the transport, each told how much of it is the class."""
        classes, shots = mask_BKhw.shape[:2]
        side = max(2, isqrt(EXCHANGED_TOKENS // shots))
        tokens_ITD = F.adaptive_avg_pool2d(merged_IDHW, side).flatten(2).transpose(1, 2)
        mass_IT1 = F.adaptive_avg_pool2d(mask_BKhw.flatten(0, 1), side).flatten(1)[:, :, None]
        return (tokens_ITD + self.label(mass_IT1)).reshape(classes, -1, tokens_ITD.shape[-1])


def own_class_correlation(map_IChw: Tensor, tokens_BTC: Tensor, shots: int) -> Tensor:
    """Cosines (I, T, h, w) of each exemplar's positions with all tokens of its class, without copying the tokens."""
    I, C, h, w = map_IChw.shape
    side_by_side = map_IChw.view(-1, shots, C, h, w).transpose(1, 2).reshape(-1, C, shots * h, w)
    cosines_BTKhw = token_correlation(side_by_side, tokens_BTC[:, None]).view(I // shots, -1, shots, h, w)
    return cosines_BTKhw.transpose(1, 2).reshape(I, -1, h, w)


def others_only(mass_BT: Tensor, others_KK: Tensor) -> Tensor:
    """Masses (B * K, T) as each shot sees them: zero where `others` is."""
    B, T = mass_BT.shape
    K = others_KK.shape[0]
    return (others_KK[None, :, :, None] * mass_BT.view(B, 1, K, T // K)).reshape(B * K, T)


def batches_of_equal_shots(supports: Sequence[RepairedSupport], limit: int) -> list[list[int]]:
    """Positions of classes that can be worked on together, at most `limit` each."""
    by_shots: dict[int, list[int]] = {}
    for row, support in enumerate(supports):
        by_shots.setdefault(support.shots, []).append(row)
    return [rows[start : start + limit] for rows in by_shots.values() for start in range(0, len(rows), limit)]
