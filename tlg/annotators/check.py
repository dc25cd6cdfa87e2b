"""Does an exemplar help? Each is answered by the other exemplars of its class, as if it were a picture to annotate.

Shapes: H x W the model's input size, K exemplars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tlg.annotators.naming import names_of, text_of
from tlg.annotators.protocol import PRESENT
from tlg.evidence.drawn import given_map
from tlg.evidence.exemplar import Prior
from tlg.evidence.fusion import TextPresence, agreed_where_trusted, bounded_log_odds
from tlg.evidence.names.evidence import taught_names
from tlg.evidence.names.said import borne_out, said
from tlg.evidence.own_maps import Shown, own_maps
from tlg.evidence.readiness import extent_of
from tlg.exemplars import LoadedExemplar, LoadedExemplars
from tlg.exemplars.usable import check_usable
from tlg.hub.folder import Model
from tlg.network.features import Features
from tlg.pictures import to_network_input

# A drawn mask that overlaps less than so with what the other exemplars mark is worth a look.
LEAST_OVERLAP = 0.25
# So much more, in log-odds, another class has to be seen in an exemplar than its own.
RIVALRY = 0.5


@dataclass(frozen=True)
class ExemplarCheck:
    """What the other exemplars of its class say of one; None where there are no others, or no mask to compare with."""

    class_name: str
    uri: str
    presence: float | None
    overlap: float | None
    rival: str | None = None  # another class of which it looks like an exemplar

    @property
    def warning(self) -> str | None:
        if self.presence is None:
            return "it is the only exemplar of its class: a second one would show whether it is typical"
        if self.presence < PRESENT:
            return "the other exemplars do not find the class in it: is the name right, is the thing large enough?"
        if self.rival is not None:
            return f"it looks more like '{self.rival}': is it in the right folder?"
        if self.overlap is not None and self.overlap < LEAST_OVERLAP:
            return "its mask is not where the other exemplars find the class: is the mask of the right thing?"
        return None


@dataclass(frozen=True)
class _Encoded:
    """An exemplar: the map that a person gave, and where its class's name has it, both (H, W); what names say of it."""

    features: Features
    mask: Tensor | None
    by_name: Tensor | None
    seen: Any


class ExemplarChecker:
    """Encodes a set once; `check` then leaves one exemplar out after the other."""

    def __init__(self, model: Model, exemplars: LoadedExemplars) -> None:
        check_usable(exemplars)
        self._model, self._set = model, exemplars
        self._prior = Prior(model.background)
        self._names = names_of(model, exemplars, text_of(model, exemplars, self._device))
        with torch.inference_mode():
            self._shown = [
                [self._encoded(exemplar, index) for exemplar in of.exemplars]
                for index, of in enumerate(exemplars.classes)
            ]
            self._negatives = [self._encoded(exemplar, None) for exemplar in exemplars.negatives]

    @torch.inference_mode()
    def check(self) -> Iterator[ExemplarCheck]:
        """In the order of the set."""
        for index, of in enumerate(self._set.classes):
            for shot, exemplar in enumerate(of.exemplars):
                if len(of.exemplars) > 1:
                    yield self._by_the_others(index, shot)
                else:
                    yield ExemplarCheck(of.name, exemplar.uri, None, None)

    def _by_the_others(self, index: int, left_out: int) -> ExemplarCheck:
        asked = self._shown[index][left_out]
        others = [other for shot, other in enumerate(self._shown[index]) if shot != left_out]
        own = [(other, index) for other in others]
        rest = [(other, number) for number, of in enumerate(self._shown) if number != index for other in of]
        told = [*own, *rest, *((negative, None) for negative in self._negatives)]
        fitted = self._prior.fit(
            [(exemplar.features, label, exemplar.mask if label == index else None) for exemplar, label in told]
        )
        presence_N, trusted = self._presence(fitted.presence(asked.features)[0], asked, told)
        overlapping = None
        if asked.mask is not None:
            prior_HW = fitted.maps(asked.features, classes=[index])[0, 0]
            found_HW = self._found(asked, index, prior_HW, others, fitted.support_maps, trusted)
            overlapping = overlap(found_HW, asked.mask)
        of = self._set.classes[index]
        uri, rival = of.exemplars[left_out].uri, self._rival(presence_N, index)
        return ExemplarCheck(of.name, uri, float(presence_N[index]), overlapping, rival)

    def _presence(
        self, likely_N: Tensor, asked: _Encoded, told: Sequence[tuple[_Encoded, int | None]]
    ) -> tuple[Tensor, list[bool]]:
        """(N,) by likeness and by the names that the other exemplars bear out, and which names these are."""
        if self._names is None:
            return likely_N, [False] * len(likely_N)
        odds_SN, labels = (
            torch.cat([self._names.odds(exemplar.seen) for exemplar, _ in told]),
            [label for _, label in told],
        )
        trusted = borne_out(self._names, odds_SN, labels)
        by_name_N = TextPresence.fit(odds_SN, labels).probability(self._names.odds(asked.seen))[0]
        return agreed_where_trusted(likely_N, by_name_N, trusted), trusted

    def _rival(self, presence_N: Tensor, index: int) -> str | None:
        odds_N = bounded_log_odds(presence_N)
        strongest = int(odds_N.argmax())
        return self._set.class_names[strongest] if odds_N[strongest] > odds_N[index] + RIVALRY else None

    def _found(
        self,
        asked: _Encoded,
        index: int,
        prior_HW: Tensor,
        others: Sequence[_Encoded],
        maps_SHW: Tensor,
        trusted: Sequence[bool],
    ) -> Tensor:
        """(H, W): the probability of the class, by the network where it reads exemplars, else by the prior."""
        network, names = self._model.network, self._names
        if network is None or network.reads_query_prior:
            return prior_HW
        is_taught = names is not None and taught_names(names)[index]
        shown = [
            Shown(map_HW, other.mask is not None, other.by_name if trusted[index] else None, is_taught)
            for map_HW, other in zip(maps_SHW, others, strict=False)
        ]
        features = Features.cat([other.features for other in others])
        own = own_maps(network, features, shown)
        memory = network.encode_support(features, own.inside, None, own.outside, own.are_drawn)
        named = None if names is None else said(names, asked.seen, [index], trusted, asked.features.size)
        logits_2HW = network.segment(asked.features, None, [memory], None, named)[0, 0]
        extent = extent_of(network, [other.mask for other in others])
        return torch.sigmoid(logits_2HW[1] - logits_2HW[0] + extent)

    def _encoded(self, exemplar: LoadedExemplar, index: int | None) -> _Encoded:
        """`index` is the exemplar's class."""
        image_13HW = to_network_input(exemplar.pixels, self._model.input_size)[None].to(self._device)
        features = self._model.backbone.encode(image_13HW.contiguous(memory_format=torch.channels_last))
        seen_1, by_name_HW = None, None
        if self._names is not None:
            seen_1 = self._names.see(image_13HW, features)
            if index is not None and self._names.known[index]:
                by_name_HW = self._names.map(seen_1, index)
        return _Encoded(features, given_map(exemplar, image_13HW, features, by_name_HW), by_name_HW, seen_1)

    @property
    def _device(self) -> torch.device:
        return next(self._model.backbone.parameters()).device


def overlap(found_HW: Tensor, mask_HW: Tensor) -> float:
    """Intersection over union of two maps' places above even odds."""
    found, drawn = found_HW > 0.5, mask_HW > 0.5
    return float((found & drawn).sum()) / max(1, int((found | drawn).sum()))
