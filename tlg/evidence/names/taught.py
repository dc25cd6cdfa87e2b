"""Names of kinds of things that the model was taught with masks; of all others the source below speaks.

Shapes: B pictures, N names, T kinds, C channels of a map, h x w the finest related map's grid, H x W the input size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.evidence.fusion import bounded
from tlg.evidence.names.evidence import NameEvidence, looks_at_pictures
from tlg.evidence.names.words import kind_of
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.network.reading.head import at_size, read_maps

# Whether a picture shows a kind is judged by this share of its places, those that say so most: things can be small.
SPEAKING = 0.01
# Before anything is learnt a place shows a kind with about this log-odds.
RARE = -3.0


class TaughtKinds(nn.Module):
    """Tells every kind at every place: log-odds (B, T, h, w) from the maps that the reading head relates."""

    def __init__(self, backbone: Backbone, kinds: Sequence[str], width: int) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.read = read_maps(backbone)
        channels = [backbone.channels[index] for index in self.read]
        self.norms = nn.ModuleList([nn.BatchNorm2d(count, affine=False) for count in channels])
        self.squeezes = nn.ModuleList([nn.Conv2d(count, width, 1) for count in channels])
        self.around = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.across = nn.Conv2d(width, width, 1)
        self.answer = nn.Conv2d(width, len(self.kinds), 1)
        nn.init.constant_(self.answer.bias, RARE)  # type: ignore[arg-type]
        # A kind's surest places speak loudly in any picture: what they say of the whole picture is learnt afterwards.
        self.slope = nn.Parameter(torch.ones(len(self.kinds)), requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(len(self.kinds)), requires_grad=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        grid = (maps[0].shape[-2], maps[0].shape[-1])
        levels = zip(maps, self.norms, self.squeezes, strict=True)
        squeezed = torch.stack([at_size(squeeze(norm(level)), grid) for level, norm, squeeze in levels]).sum(0)
        return self.answer(F.gelu(self.across(self.around(F.gelu(squeezed)))))

    def loudness(self, places_BThw: Tensor) -> Tensor:
        """(B, T): the mean log-odds of the places that say most."""
        places_BTL = places_BThw.flatten(2)
        return places_BTL.topk(max(1, round(SPEAKING * places_BTL.shape[2]))).values.mean(2)

    def pictures(self, places_BThw: Tensor) -> Tensor:
        """(B, T): log-odds that the picture shows the kind at all."""
        return bounded(self.slope * self.loudness(places_BThw) + self.offset)


def width_of(state: Mapping[str, Tensor]) -> int:
    """Of the classifier that a state dict was taken from."""
    return len(state["across.bias"])


@dataclass(frozen=True)
class Seen:
    """By the taught kinds (B, T, h, w), and by the source below."""

    places: Tensor
    below: Any

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: list[int] | slice) -> Seen:
        return Seen(self.places[rows], None if self.below is None else self.below[rows])


class TaughtNames:
    """See `tlg.evidence.names.evidence.TaughtEvidence`. `below` speaks of names that are no taught kind."""

    def __init__(
        self, taught: TaughtKinds, names: Sequence[str], size: tuple[int, int], below: NameEvidence | None
    ) -> None:
        self._taught, self._size, self._below = taught, size, below
        kinds = [kind_of(name) for name in names]
        self._columns = [taught.kinds.index(kind) if kind in taught.kinds else None for kind in kinds]
        self.taught = [column is not None for column in self._columns]
        below_knows = [False] * len(names) if below is None else below.known
        self.looks_at_pictures = below is not None and looks_at_pictures(below)
        self.known = [taught or known for taught, known in zip(self.taught, below_knows, strict=True)]

    def see(self, images_B3HW: Tensor, features: Features) -> Seen:
        places_BThw = self._taught([features.maps[index].float() for index in self._taught.read])
        return Seen(places_BThw, None if self._below is None else self._below.see(images_B3HW, features))

    def odds(self, seen: Seen) -> Tensor:
        odds_BN = seen.places.new_zeros((len(seen), len(self.known)))
        if self._below is not None:
            odds_BN = self._below.odds(seen.below).clone()
        of_kinds_BT = self._taught.pictures(seen.places)
        for index, column in enumerate(self._columns):
            if column is not None:
                odds_BN[:, index] = of_kinds_BT[:, column]
        return odds_BN

    def map(self, seen_1: Seen, index: int) -> Tensor:
        column = self._columns[index]
        if column is None:
            assert self._below is not None  # nobody else knows the name
            return self._below.map(seen_1.below, index)
        return torch.sigmoid(at_size(seen_1.places[:, [column]], self._size)[0, 0])
