"""The released behaviour: numerically what the published code computes, defects included.

Every attribute that holds parameters bears its published name, so a published state dict fits as it is.

Shapes: B pairs of query and support image, Q and S positions of the query's and the support's grid, C channels,
L = 50 tokens. All sizes are the published ones: images of 400 x 400, working grid 50 x 50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.errors import InputError
from tlg.network.backbones.backbone import Backbone
from tlg.network.episode_answer import EpisodeAnswer
from tlg.network.features import Features
from tlg.network.released.squeeze import WIDTH, ReleasedSqueeze
from tlg.network.repaired.aggregation import Branch, branch_maps
from tlg.network.repaired.correlation import resized, unit
from tlg.network.repaired.transport import sinkhorn
from tlg.network.text import TextVectors

Given = TypeVar("Given")

INPUT_SIZE = (400, 400)
GRID = (50, 50)
DECODED_GRID = (100, 100)
TEXT_GRID = (25, 25)
TOKENS = 50
HEADS = 8
SINKHORN_ENTROPY = 0.5
# Far past convergence: at these costs and this entropy weight a step gains more than a digit.
SINKHORN_STEPS = 40


class SelfAttention(nn.Module):
    """Even tokens are the keys, odd tokens the values."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(WIDTH, WIDTH, bias=False)
        self.kv = nn.Linear(WIDTH, WIDTH, bias=False)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x_BLC: Tensor) -> Tensor:
        kv = self.kv(x_BLC)
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.q(x_BLC), kv[:, 0::2], kv[:, 1::2])
        )
        attention = (query @ key.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5).softmax(dim=-1)
        return self.proj((attention @ value).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """The attention is replaced by the transport plan of one minus itself."""

    def __init__(self) -> None:
        super().__init__()
        self.q_fc = nn.Linear(WIDTH, WIDTH, bias=False)
        self.k_fc = nn.Linear(WIDTH, WIDTH, bias=False)
        self.v_fc = nn.Linear(WIDTH, WIDTH, bias=False)
        self.proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, attended_BLC: Tensor, x_BLC: Tensor) -> Tensor:
        scores = self.q_fc(attended_BLC) @ self.k_fc(x_BLC).transpose(-2, -1) * WIDTH**-0.5
        plan = sinkhorn(1 - scores.softmax(dim=-1).double(), SINKHORN_ENTROPY, SINKHORN_STEPS)
        return self.proj(plan.to(x_BLC.dtype) @ self.v_fc(x_BLC))


@dataclass(frozen=True)
class ReleasedSupport:
    """All shots of a class: per level the unit vectors that are correlated, and the reduced middle map of the residual.

    levels[l]: (K, M, P, C), the level's M maps of P positions, laid out as `quick_correlation` wants them.
    """

    levels: list[Tensor]
    middle: Tensor  # (K, 128, h, w)

    @property
    def shots(self) -> int:
        return len(self.middle)

    def to(self, target: torch.device | torch.dtype | str) -> ReleasedSupport:
        return ReleasedSupport([level.to(target) for level in self.levels], self.middle.to(target))


class ReleasedHead(nn.Module):
    """Everything after the backbone, under its published names."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.levels = backbone.levels
        self.reads = branch_maps(backbone)
        self.hpn_learner = ReleasedSqueeze([len(level) for level in backbone.levels])
        # One reduction per width of map: the published names say which.
        widths = sorted({backbone.channels[index] for indices in self.reads.values() for index in indices})
        self.channels = backbone.channels
        for c_in in widths:
            self.add_module(f"conv_{c_in}_128", nn.Conv2d(c_in, WIDTH, 1))
        self.final_cat = nn.Conv2d(3 * WIDTH, WIDTH, 1)
        self.merge = nn.Sequential(nn.Conv2d(2 * WIDTH, WIDTH, 1, bias=False))
        self.SelfAttention = SelfAttention()
        self.CrossAttention = CrossAttention()
        self.proj = nn.Linear(TOKENS, GRID[0] * GRID[1], bias=False)
        self.bn = nn.BatchNorm2d(WIDTH)
        self.linear_512_625 = nn.Linear(512, TEXT_GRID[0] * TEXT_GRID[1])
        self.conv_2_1 = nn.Conv2d(2, 1, 1)
        self.decoder1 = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, 64, 3, padding=1), nn.ReLU()
        )
        self.decoder2 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 2, 3, padding=1))
        self.res = nn.Sequential(nn.Conv2d(3, 10, 1), nn.GELU(), nn.Conv2d(10, 2, 1))

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
        """One shot, the published forward pass."""
        if shots != 1:
            raise InputError(
                f"the released forward pass takes one shot, got {shots}; segment() votes over shots", kind="shots"
            )
        self._check(query, support)
        text, query_prior = needed(text, "text"), needed(query_prior_BHW, "query_prior")
        support_prior = needed(support_prior_BKHW, "support_prior")[:, 0]
        squeezed_q, squeezed_s = self.squeezed(query.maps, support.maps)
        aggregated_q = self.aggregate(query.maps, squeezed_s, "query")
        aggregated_s = self.aggregate(support.maps, squeezed_q, "support")
        middle = self.reduced_middle(support.maps)
        branch_q = self.transfer(aggregated_q, middle, "query")
        branch_s = self.transfer(aggregated_s, middle, "support")
        modulated_q = self.modulate(branch_q, self.query_text_map(text))
        modulated_s = self.modulate(branch_s, self.text_map(text.refined))
        query_logits = self.decode(modulated_q + squeezed_q, query_prior, query.size)
        support_logits = self.decode(modulated_s + squeezed_s, support_prior, support.size)
        return EpisodeAnswer(query_logits, support_logits[:, None])

    def encode_support(self, features: Features, prior_SHW: Tensor | None, text: TextVectors | None) -> ReleasedSupport:
        """The answer to a query reads neither the support's prior nor its text."""
        self._check(features)
        levels = [
            torch.stack([unit(features.maps[index], 1).flatten(2).transpose(1, 2) for index in level], dim=1)
            for level in self.levels
        ]
        return ReleasedSupport(levels, self.reduced_middle(features.maps))

    def segment(
        self,
        query: Features,
        query_prior_BNHW: Tensor | None,
        supports: Sequence[ReleasedSupport],
        text: TextVectors | None,
    ) -> Tensor:
        """One pass per shot. One shot answers with its logits, several with the log odds of the published vote."""
        self._check(query)
        priors, text = needed(query_prior_BNHW, "query_prior"), needed(text, "text")
        answers = []
        for row in range(len(query)):
            side_by_side = [
                torch.cat([unit(query.maps[index][row : row + 1], 1) for index in level], dim=1).contiguous(
                    memory_format=torch.channels_last
                )
                for level in self.levels
            ]
            visual = self.visual([plane[row : row + 1] for plane in query.maps], "query")
            text_map = self.query_text_map(text)
            for column, support in enumerate(supports):
                prior = priors[row, column][None]
                shots = [
                    self._one_shot(
                        side_by_side, visual, support, shot, text_map[column : column + 1], prior, query.size
                    )
                    for shot in range(support.shots)
                ]
                answers.append(shots[0] if support.shots == 1 else vote(torch.cat(shots)))
        return torch.cat(answers).unflatten(0, (len(query), len(supports)))

    def _one_shot(
        self,
        query_levels: list[Tensor],
        visual: Tensor,
        support: ReleasedSupport,
        shot: int,
        text_map: Tensor,
        prior: Tensor,
        size: tuple[int, int],
    ) -> Tensor:
        pyramid = [
            quick_correlation(query_1XQR, level_KMPC[shot])
            for query_1XQR, level_KMPC in zip(query_levels, support.levels, strict=True)
        ]
        squeezed_q, squeezed_s = self.hpn_learner(pyramid)
        middle = support.middle[shot : shot + 1]
        branch = self.transfer(self.merge(torch.cat([visual, squeezed_s], 1)), middle, "query")
        return self.decode(self.modulate(branch, text_map) + squeezed_q, prior, size)

    # ---- the steps, in the paper's order

    def squeezed(self, query_maps: Sequence[Tensor], support_maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """E_q and E_s, (B, 128, 50, 50) each; both directions come from one product."""
        query_units, support_units = ([unit(plane, 1) for plane in maps] for maps in (query_maps, support_maps))
        pairs = []
        for row in range(len(query_units[0])):
            query, support = ([plane[row] for plane in maps] for maps in (query_units, support_units))
            pairs.append(self.hpn_learner([level_correlation(query, support, level) for level in self.levels]))
        squeezed_q, squeezed_s = zip(*pairs, strict=True)
        return torch.cat(squeezed_q), torch.cat(squeezed_s)

    def reduce(self, plane: Tensor) -> Tensor:
        return self.get_submodule(f"conv_{plane.shape[1]}_128")(plane)

    def visual(self, maps: Sequence[Tensor], branch: Branch) -> Tensor:
        """HA before the crossing: the branch's own low, middle and high maps on the working grid."""
        reduced = [resized(self.reduce(maps[index]), GRID) for index in self.reads[branch]]
        return self.final_cat(torch.cat(reduced, dim=1))

    def aggregate(self, maps: Sequence[Tensor], other_squeezed: Tensor, branch: Branch) -> Tensor:
        """HA: what the branch sees, merged with the other branch's correlations."""
        return self.merge(torch.cat([self.visual(maps, branch), other_squeezed], dim=1))

    def reduced_middle(self, support_maps: Sequence[Tensor]) -> Tensor:
        return self.reduce(support_maps[self.reads["support"][1]])

    def attend(self, aggregated_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs (B, 50, 128) of the self-attention and of the transport."""
        # 2500 positions pooled to 50 tokens: a token is the mean of a row. The softmax that follows may meet scores of
        # 1e4, so the order of this sum shows; `mean` adds pairwise and errs least.
        x_BLC = aggregated_BCHW.mean(dim=-1).transpose(1, 2)
        attended = self.SelfAttention(x_BLC)
        return attended, self.CrossAttention(attended, x_BLC)

    def transfer(self, aggregated: Tensor, support_middle: Tensor, branch: Branch) -> Tensor:
        """HT: the transported tokens on the grid, and a residual pooled as the branch does."""
        transported_BLC = self.attend(aggregated)[1]
        on_grid = self.proj(transported_BLC.transpose(1, 2)).unflatten(-1, GRID)
        # A 1x1 convolution commutes with resizing: the middle map was reduced on its own small grid.
        doubled = resized(support_middle, DECODED_GRID)
        residual = F.max_pool2d(doubled, 2) if branch == "support" else F.avg_pool2d(doubled, 2)
        return torch.relu(self.bn(on_grid) + residual)

    def text_map(self, vectors_BD: Tensor) -> Tensor:
        return self.linear_512_625(vectors_BD).unflatten(-1, (1, *TEXT_GRID))

    def query_text_map(self, text: TextVectors) -> Tensor:
        return self.conv_2_1(torch.cat([self.text_map(text.foreground), self.text_map(text.background)], dim=1))

    def modulate(self, branch: Tensor, text_map: Tensor) -> Tensor:
        """HC: halved, multiplied by the text's map, doubled again."""
        halved = F.interpolate(branch, scale_factor=0.5, mode="bilinear", align_corners=False)
        return F.interpolate(halved * text_map, scale_factor=2.0, mode="bilinear", align_corners=False)

    def decode(self, z: Tensor, prior_BHW: Tensor, size: tuple[int, int]) -> Tensor:
        logits = self.decoder2(resized(self.decoder1(z), DECODED_GRID))
        prior = resized(prior_BHW[:, None].to(logits.dtype), DECODED_GRID)
        return resized(self.res(torch.cat([logits, prior], dim=1)), size)

    def _check(self, *features: Features) -> None:
        for picture in features:
            if picture.size != INPUT_SIZE:
                raise InputError(
                    f"images of {picture.size[0]}x{picture.size[1]} pixels given, the released behaviour needs"
                    f" {INPUT_SIZE[0]}x{INPUT_SIZE[1]}; resize them, or use the repaired behaviour",
                    kind="size",
                )


@torch.no_grad()
def level_correlation(query_CQR: Sequence[Tensor], support_CST: Sequence[Tensor], level: Sequence[int]) -> Tensor:
    """Cosines (Q, R, M, S, T) clamped at 0, rounded as the published code rounds them.

    They are written where they are read; the frozen backbone needs no gradient.
    """
    (_, Q, R), (_, S, T) = query_CQR[level[0]].shape, support_CST[level[0]].shape
    corr_QMS = query_CQR[level[0]].new_empty(Q * R, len(level), S * T)
    for position, index in enumerate(level):
        cosines_QS = query_CQR[index].flatten(1).T @ support_CST[index].flatten(1)
        torch.clamp(cosines_QS, min=0, out=corr_QMS[:, position])
    return corr_QMS.view(Q, R, len(level), S, T)


def quick_correlation(query_1XQR: Tensor, support_MPC: Tensor) -> Tensor:
    """The same from a level's M maps side by side (X = M * C, channels last) and a square support's positions.

    On a CPU it is a 1x1 convolution with the support's positions as kernels, in less than half the time.
    """
    Q, R = query_1XQR.shape[-2:]
    M, P, C = support_MPC.shape
    if query_1XQR.device.type == "cpu":
        corr_1YQR = F.conv2d(query_1XQR, support_MPC.reshape(M * P, C, 1, 1), groups=M)
        corr_QRY = corr_1YQR.relu_().permute(0, 2, 3, 1)
    else:
        query_MCQ = query_1XQR.reshape(M, C, Q * R)
        corr_QRY = torch.bmm(support_MPC, query_MCQ).relu_().permute(2, 0, 1)
    return corr_QRY.reshape(Q, R, M, isqrt(P), isqrt(P))


def needed(value: Given | None, name: str) -> Given:
    if value is None:
        raise InputError(f"the released behaviour needs `{name}`, got None", kind=name)
    return value


def vote(logits_K2HW: Tensor) -> Tensor:
    """Log odds (1, 2, H, W) of the shots' vote; the foreground wins from half of the image's highest vote on."""
    shots = len(logits_K2HW)
    votes_HW = (logits_K2HW[:, 1] > logits_K2HW[:, 0]).sum(dim=0)
    share = votes_HW / votes_HW.max().clamp(min=1)
    # Half a vote is added to either side, a quarter less against, so that an exact half still wins.
    foreground = ((share + 0.5 / shots) / (1 - share + 0.25 / shots)).log()
    return torch.stack([torch.zeros_like(foreground), foreground])[None]
