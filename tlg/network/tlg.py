"""TLG: wiring only. The backbone makes features, the head of the chosen behaviour does the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone
from tlg.network.episode_answer import EpisodeAnswer
from tlg.network.features import Features
from tlg.network.named import Named
from tlg.network.reading.extent import extent
from tlg.network.reading.head import ReadingHead, ReadingSupport
from tlg.network.released.head import ReleasedHead, ReleasedSupport
from tlg.network.repaired.head import RepairedHead
from tlg.network.spec import NetworkSpec
from tlg.network.support import RepairedSupport
from tlg.network.text import TextVectors

__all__ = ["TLG", "Features", "NetworkSpec", "Support"]

Support = RepairedSupport | ReleasedSupport | ReadingSupport


def build_head(spec: NetworkSpec, backbone: Backbone) -> ReleasedHead | RepairedHead | ReadingHead:
    if spec.behaviour == "released":
        return ReleasedHead(backbone)
    return RepairedHead(spec, backbone) if spec.behaviour == "repaired" else ReadingHead(spec, backbone)


class TLG(nn.Module):
    """Weakly-supervised few-shot segmentation with two unlike branches.

    Shapes: B queries, N classes, S shots of one class, K shots each, H x W the input size.
    """

    def __init__(self, spec: NetworkSpec, backbone: Backbone) -> None:
        super().__init__()
        if backbone.name != spec.backbone:
            raise ValueError(f"the spec names backbone {spec.backbone}, the given one is {backbone.name}")
        self.spec = spec
        self.backbone = backbone
        self.head = build_head(spec, backbone)

    @property
    def reads_query_prior(self) -> bool:
        """Whether the exemplar prior's map of a query is read: a reading network relates the query itself."""
        return self.spec.prior and not isinstance(self.head, ReadingHead)

    def learnable_parameters(self) -> int:
        return sum(weights.numel() for weights in self.parameters() if weights.requires_grad)

    @torch.no_grad()
    def encode(self, images_B3HW: Tensor) -> Features:
        """One backbone pass."""
        return self.backbone.encode(images_B3HW)

    def encode_support(
        self,
        features: Features,
        prior_SHW: Tensor | None,
        text: TextVectors | None,
        outside_SHW: Tensor | None = None,
        are_drawn: bool = True,
    ) -> Support:
        """All shots of one class with their priors in 0..1, as what `segment` needs of them; text is (1, D).

        For a head that reads exemplars, `outside` says how much each place speaks against the class, where that is not
        all that the prior leaves, and `are_drawn` whether people drew the priors.
        """
        if isinstance(self.head, ReadingHead):
            return self.head.encode_support(features, prior_SHW, outside_SHW, are_drawn)
        return self.head.encode_support(features, prior_SHW, text)

    @property
    def takes_extent(self) -> bool:
        """Whether drawn masks of a class say how readily it is taken: likeness alone has no scale."""
        return isinstance(self.head, ReadingHead)

    def extent(self, masks_KHW: Tensor) -> Tensor:
        """What drawn masks of a class add to its logits."""
        return extent(masks_KHW) if self.takes_extent else masks_KHW.new_zeros(())

    def finest(self, features: Features) -> Tensor:
        """(B, C, h, w): the finest map that is related to exemplars'; of a reading network."""
        assert isinstance(self.head, ReadingHead)
        return self.head.look(features).levels[0]

    def segment(
        self,
        query: Features,
        query_prior_BNHW: Tensor | None,
        supports: Sequence[Support],
        text: TextVectors | None,
        named: Named | None = None,
    ) -> Tensor:
        """Logits (B, N, 2, H, W) of every query and class at the queries' input size; text vectors are (N, D)."""
        if isinstance(self.head, ReadingHead):
            return self.head.segment(query, supports, named)  # type: ignore[arg-type]
        return self.head.segment(query, query_prior_BNHW, supports, text)  # type: ignore[arg-type]

    def episode(
        self,
        query: Features,
        support: Features,
        query_prior_BHW: Tensor | None,
        support_prior_BKHW: Tensor | None,
        text: TextVectors | None = None,
    ) -> EpisodeAnswer:
        """From features that are there already: support holds B * K images, the K shots of a query together."""
        shots = len(support) // len(query)
        if isinstance(self.head, ReadingHead):
            return self.head.episode(query, support, support_prior_BKHW, shots)
        return self.head.episode(query, support, query_prior_BHW, support_prior_BKHW, shots, text)

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_prior: Tensor | None = None,
        support_prior: Tensor | None = None,
        text: TextVectors | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Query (B, 3, H, W), support (B, 3, H, W) or (B, K, 3, H, W) images; (query_logits, support_logits).

        Priors (B, H, W), or (B, K, H, W) for K shots; text vectors (B, D). Logits are (B, 2, H, W), for K shots the
        support's are (B, K, 2, H, W).
        """
        images_I3HW = support.flatten(0, 1) if support.dim() == 5 else support
        one_shot = support.dim() == 4
        prior_BKHW = support_prior[:, None] if support_prior is not None and one_shot else support_prior
        answer = self.episode(self.encode(query), self.encode(images_I3HW), query_prior, prior_BKHW, text)
        return answer.query, answer.support[:, 0] if one_shot else answer.support
