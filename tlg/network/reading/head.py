"""The reading behaviour: a query is told apart by its relations to what exemplars show inside and outside their masks.

A given mask, box or pseudo-mask pools the exemplars' cells itself. The query's own features reach the answer only as
relations, so that what stands out but was not shown has no way in: relations to exemplars, and to the class's name.
A second look takes the query's surest places as further exemplars, after a glance at half the size where nobody drew.

Shapes: B queries, N classes, X = B * N pairs, A classes being described, K shots, I = A * K exemplar images,
M evidence maps, D width, H x W the input size, h x w the finest level's grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone
from tlg.network.episode_answer import EpisodeAnswer
from tlg.network.features import Features
from tlg.network.named import NAME_CUES, Named
from tlg.network.reading.cues import CUES, Places, level_cues
from tlg.network.reading.memory import Cells, LevelMemory, cells_of, remember
from tlg.network.reading.mixer import Mixer
from tlg.network.reading.scatter import Frame
from tlg.network.spec import NetworkSpec
from tlg.network.support import cells_per_side

# Pairs worked on at once: more gains nothing and costs memory.
PAIRS_AT_ONCE = 16
# Every place of the query speaks a little for what it was taken for, so that an empty first answer is no dead end.
LEAST_VOTE = 1e-3
# A deepest map this much wider than the level before it was widened for the classifier and sees nothing more.
WIDENED = 3
LOGIT_SCALE = 1 / 4


@dataclass(frozen=True)
class Look:
    """What the head takes from an image's features, whatever the class."""

    levels: list[Tensor]  # (B, C, h, w)
    size: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """The finest level's."""
        return self.levels[0].shape[-2], self.levels[0].shape[-1]


@dataclass(frozen=True)
class ReadingSupport:
    """All shots of a class (or of A classes with equally many shots)."""

    levels: list[LevelMemory]
    masks: Tensor  # (A, K, h, w), how much of each place was taken for the class
    are_drawn: bool = True

    @property
    def shots(self) -> int:
        return self.masks.shape[1]

    def __getitem__(self, rows: Tensor) -> ReadingSupport:
        return ReadingSupport([level[rows] for level in self.levels], self.masks[rows], self.are_drawn)

    def to(self, target: torch.device | torch.dtype | str) -> ReadingSupport:
        return ReadingSupport([level.to(target) for level in self.levels], self.masks.to(target), self.are_drawn)

    @staticmethod
    def cat(supports: Sequence[ReadingSupport]) -> ReadingSupport:
        """Classes of one kind together: with equally many shots, all drawn or none."""
        levels = [LevelMemory.cat(parts) for parts in zip(*(support.levels for support in supports), strict=True)]
        return ReadingSupport(levels, torch.cat([support.masks for support in supports]), supports[0].are_drawn)


def read_maps(backbone: Backbone) -> tuple[int, ...]:
    """The maps that are related: the last of one width in every level, less a deepest map that was only widened."""
    channels = backbone.channels
    last = [list(run)[-1] for level in backbone.levels for _, run in groupby(level, key=channels.__getitem__)]
    deepest = backbone.levels[-1]
    widened = len(deepest) > 1 and channels[deepest[-1]] >= WIDENED * channels[deepest[-2]]
    return tuple(last[:-1] if widened else last)


class ReadingHead(nn.Module):
    """Everything after the backbone."""

    def __init__(self, spec: NetworkSpec, backbone: Backbone) -> None:
        super().__init__()
        self.spec = spec
        self.read = read_maps(backbone)
        # Ablations: with one look the first answer stands.
        self.looks, self.glances = 2, True
        evidence = CUES * len(self.read)
        self.first = Mixer(evidence + (NAME_CUES if spec.names else 0), spec.width)
        self.first_answer = nn.Conv2d(spec.width, 1, 1)
        # The second look also sees what the first made of it: its maps, its answer and how sure it was.
        self.second = Mixer(evidence + spec.width + 2, spec.width)
        self.second_answer = nn.Conv2d(spec.width, 1, 1)

    # ---- what the outside calls

    def encode_support(
        self, features: Features, inside_SHW: Tensor | None, outside_SHW: Tensor | None, are_drawn: bool
    ) -> ReadingSupport:
        inside_AKHW, outside_AKHW = (
            None if weight_SHW is None else weight_SHW[None] for weight_SHW in (inside_SHW, outside_SHW)
        )
        memory = self.describe(self.look(features), inside_AKHW, len(features), outside_AKHW)
        return replace(memory, are_drawn=are_drawn)

    def segment(self, query: Features, supports: Sequence[ReadingSupport], named: Named | None) -> Tensor:
        B, look = len(query), self.look(query)
        name_BNChw = self.name_cues(look, len(supports), named)
        answers: dict[int, Tensor] = {}
        for columns in classes_of_one_kind(supports, max(1, PAIRS_AT_ONCE // B)):
            memory = ReadingSupport.cat([supports[column] for column in columns])
            if B > 1:
                memory = memory[torch.arange(len(columns), device=query.maps[0].device).repeat(B)]
            name_XChw = None if name_BNChw is None else name_BNChw[:, columns].flatten(0, 1)
            logit_X1hw = self.answers(look, memory, name_XChw)[-1]
            answers |= dict(zip(columns, logit_X1hw.unflatten(0, (B, -1)).unbind(1), strict=True))
        logit_BNhw = torch.cat([answers[column] for column in range(len(supports))], dim=1)
        return two_logits(at_size(logit_BNhw, query.size))

    def episode(self, query: Features, support: Features, inside_BKHW: Tensor | None, shots: int) -> EpisodeAnswer:
        """Support images are B * K, class by class; each exemplar is answered by its own class's memory."""
        shown, asked = self.look(support), self.look(query)
        memory = self.describe(shown, inside_BKHW, shots)
        query_B1hw = self.answers(asked, memory)[-1]
        owner_I = torch.arange(len(query), device=query_B1hw.device).repeat_interleave(shots)
        support_I1hw = self.answers(shown, memory[owner_I])[-1]
        return EpisodeAnswer(
            two_logits(at_size(query_B1hw, query.size))[:, 0],
            two_logits(at_size(support_I1hw, support.size))[:, 0].unflatten(0, (-1, shots)),
        )

    # ---- the two branches

    def look(self, features: Features) -> Look:
        return Look([features.maps[index].float() for index in self.read], features.size)

    def describe(
        self, look: Look, inside_AKHW: Tensor | None, shots: int, outside_AKHW: Tensor | None = None
    ) -> ReadingSupport:
        """What is kept of exemplars, class by class. What is not inside is outside, unless `outside` says otherwise."""
        finest, grid = look.levels[0], look.grid
        if inside_AKHW is None:
            inside_AKHW = finest.new_full((len(finest) // shots, shots, *grid), 0.5)
        if outside_AKHW is None:
            outside_AKHW = 1 - inside_AKHW
        inside_AKhw, outside_AKhw = (
            F.adaptive_avg_pool2d(mass.to(finest.dtype), grid) for mass in (inside_AKHW, outside_AKHW)
        )
        side = cells_per_side(self.spec.support_grid, shots)
        levels = [remember(level, inside_AKhw, outside_AKhw, side) for level in look.levels]
        return ReadingSupport(levels, inside_AKhw)

    def answers(self, look: Look, memory: ReadingSupport, name_XChw: Tensor | None = None) -> list[Tensor]:
        """Logits (X, 1, h, w) of the first and the second look. Classes of a picture follow one another in `memory`."""
        # Closed forms carry no gradient: solving them backwards costs much and moves nothing that is learnt.
        with torch.no_grad():
            places = [Places.of(level) for level in look.levels]
            scatters = [of_level.scatter for of_level in places]
            frames = map(Frame.between, scatters, (level.scatter for level in memory.levels))
            evidence_XMhw = evidence(places, frames, (level.cells for level in memory.levels))
        seen_XDhw = self.first(self._with_names(evidence_XMhw, name_XChw))
        first_X1hw = self.first_answer(seen_XDhw)
        if self.looks == 1:
            return [first_X1hw]
        with torch.no_grad():
            own_frames = [*map(Frame.of, scatters, (of_level.centred for of_level in places))]
        judged_X1hw = first_X1hw
        if self.glances and not memory.are_drawn:
            # Exemplars that nobody drew tell less than the query's own surest places, so these are chosen more
            # carefully: what was learned at one size serves at half of it too, for a tenth of a backbone pass.
            half = [halved(level) if level.shape[-2:] == look.grid else level for level in look.levels]
            half_places = [
                same if level is whole else Places.of(level)
                for same, level, whole in zip(places, half, look.levels, strict=True)
            ]
            half_X1hw = halved(first_X1hw)
            glance_X1hw = self._again(half, half_places, own_frames, half_X1hw, halved(seen_XDhw), half_X1hw)
            judged_X1hw = first_X1hw + at_size(glance_X1hw, look.grid)
        again_X1hw = self._again(look.levels, places, own_frames, judged_X1hw, seen_XDhw, first_X1hw)
        return [first_X1hw, first_X1hw + again_X1hw]

    def _again(
        self,
        levels: Sequence[Tensor],
        places: Sequence[Places],
        frames: Sequence[Frame],
        judged_X1hw: Tensor,
        seen_XDhw: Tensor,
        first_X1hw: Tensor,
    ) -> Tensor:
        """(X, 1, h, w): what another look adds to the first, its exemplar being the query as it was `judged`."""
        with torch.no_grad():
            inside_X1hw, outside_X1hw = votes(judged_X1hw.sigmoid())
            side = cells_per_side(self.spec.support_grid, shots=1)
            own = (cells_of(level, inside_X1hw, outside_X1hw, side) for level in levels)
            evidence_XMhw = evidence(places, frames, own)
        told = [evidence_XMhw, seen_XDhw, first_X1hw.detach().sigmoid(), LOGIT_SCALE * first_X1hw]
        return self.second_answer(self.second(torch.cat(told, 1)))

    def name_cues(self, look: Look, classes: int, named: Named | None) -> Tensor | None:
        """(B, N, C, h, w), C = NAME_CUES; None where no name says anything, or the network does not read names."""
        if named is None or not self.spec.names:
            return None
        return at_size(named.cues().flatten(0, 1), look.grid).unflatten(0, (-1, classes))

    def _with_names(self, evidence_XMhw: Tensor, name_XChw: Tensor | None) -> Tensor:
        if not self.spec.names:
            return evidence_XMhw
        if name_XChw is None:
            name_XChw = torch.zeros_like(evidence_XMhw[:, :NAME_CUES])
        return torch.cat([evidence_XMhw, name_XChw], 1)


def evidence(places: Sequence[Places], frames: Iterable[Frame], cells: Iterable[Cells]) -> Tensor:
    """(X, M, h, w): every level's cues on the finest grid."""
    cues = [level_cues(*of_level) for of_level in zip(places, frames, cells, strict=True)]
    return torch.cat([at_size(cue_XMhw, places[0].grid) for cue_XMhw in cues], 1)


def halved(plane_XMhw: Tensor) -> Tensor:
    """Mean of four places each; an odd last row or column counts twice."""
    h, w = plane_XMhw.shape[-2:]
    if h % 2 or w % 2:
        plane_XMhw = F.pad(plane_XMhw, (0, w % 2, 0, h % 2), mode="replicate")
    # Sums of slices take an eighth of what pooling takes on a CPU.
    rows_XMhw = plane_XMhw[..., 0::2, :] + plane_XMhw[..., 1::2, :]
    return (rows_XMhw[..., 0::2] + rows_XMhw[..., 1::2]) / 4


def votes(sure_X1hw: Tensor) -> tuple[Tensor, Tensor]:
    """The query as an exemplar of itself: how much its places speak for the class, and against it."""
    inside = (2 * sure_X1hw - 1).clamp_min(0) + LEAST_VOTE * sure_X1hw
    outside = (1 - 2 * sure_X1hw).clamp_min(0) + LEAST_VOTE * (1 - sure_X1hw)
    return inside, outside


def classes_of_one_kind(supports: Sequence[ReadingSupport], limit: int) -> list[list[int]]:
    """Positions of classes that can be worked on together, at most `limit` each."""
    of_kind: dict[tuple[int, bool], list[int]] = {}
    for column, support in enumerate(supports):
        of_kind.setdefault((support.shots, support.are_drawn), []).append(column)
    return [columns[start : start + limit] for columns in of_kind.values() for start in range(0, len(columns), limit)]


def at_size(map_XMhw: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(map_XMhw.shape[-2:]) == size:
        return map_XMhw
    return F.interpolate(map_XMhw, size, mode="bilinear", align_corners=False)


def two_logits(logit_BNHW: Tensor) -> Tensor:
    """(B, N, 2, H, W): not the class, the class."""
    return torch.stack([torch.zeros_like(logit_BNHW), logit_BNHW], dim=2)
