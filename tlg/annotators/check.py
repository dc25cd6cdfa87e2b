"""Does an exemplar help? Each is answered by the other exemplars of its class, as if it were a picture to annotate.

Shapes: H x W the model's input size, K exemplars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tlg.annotators.protocol import PRESENT
from tlg.evidence.drawn import given_map
from tlg.evidence.exemplar import Prior
from tlg.evidence.fusion import bounded_log_odds, unmasked_map
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


class ExemplarChecker:
    """Encodes a set once; `check` then leaves one exemplar out after the other."""

    def __init__(self, model: Model, exemplars: LoadedExemplars) -> None:
        check_usable(exemplars)
        self._model, self._set = model, exemplars
        self._prior = Prior(model.background)
        encoded = [[self._encoded(exemplar) for exemplar in of.exemplars] for of in exemplars.classes]
        self._features = [[features for features, _ in of_class] for of_class in encoded]
        self._masks = [[mask_HW for _, mask_HW in of_class] for of_class in encoded]
        self._negatives = [self._encoded(exemplar)[0] for exemplar in exemplars.negatives]

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
        own = [
            (features, index, mask)
            for shot, (features, mask) in enumerate(zip(self._features[index], self._masks[index], strict=True))
            if shot != left_out
        ]
        rest = [
            (features, number, None) for number, of in enumerate(self._features) if number != index for features in of
        ]
        fitted = self._prior.fit([*own, *rest, *((features, None, None) for features in self._negatives)])
        asked, mask_HW = self._features[index][left_out], self._masks[index][left_out]
        presence_N = fitted.presence(asked)[0]
        overlapping = None
        if mask_HW is not None:
            found_HW = self._found(asked, fitted.maps(asked, classes=[index])[0, 0], own, fitted.support_maps)
            overlapping = overlap(found_HW, mask_HW)
        of = self._set.classes[index]
        uri, rival = of.exemplars[left_out].uri, self._rival(presence_N, index)
        return ExemplarCheck(of.name, uri, float(presence_N[index]), overlapping, rival)

    def _rival(self, presence_N: Tensor, index: int) -> str | None:
        odds_N = bounded_log_odds(presence_N)
        strongest = int(odds_N.argmax())
        return self._set.class_names[strongest] if odds_N[strongest] > odds_N[index] + RIVALRY else None

    def _found(
        self,
        asked: Features,
        prior_HW: Tensor,
        others: Sequence[tuple[Features, int, Tensor | None]],
        maps_SHW: Tensor,
    ) -> Tensor:
        """(H, W): the probability of the class, by the network where it reads exemplars, else by the prior."""
        network = self._model.network
        if network is None or network.reads_query_prior:
            return prior_HW
        own_KHW = torch.stack(
            [
                map_HW if mask_HW is not None else unmasked_map(map_HW, None)
                for map_HW, (_, _, mask_HW) in zip(maps_SHW, others, strict=False)
            ]
        )
        memory = network.encode_support(Features.cat([features for features, _, _ in others]), own_KHW, None)
        logits_2HW = network.segment(asked, None, [memory], None)[0, 0]
        extent = extent_of(network, [mask_HW for _, _, mask_HW in others])
        return torch.sigmoid(logits_2HW[1] - logits_2HW[0] + extent)

    def _encoded(self, exemplar: LoadedExemplar) -> tuple[Features, Tensor | None]:
        """Its features, and the map that a person gave."""
        image_13HW = to_network_input(exemplar.pixels, self._model.input_size)[None].to(self._device)
        with torch.inference_mode():
            features = self._model.backbone.encode(image_13HW.contiguous(memory_format=torch.channels_last))
            return features, given_map(exemplar, image_13HW, features)

    @property
    def _device(self) -> torch.device:
        return next(self._model.backbone.parameters()).device


def overlap(found_HW: Tensor, mask_HW: Tensor) -> float:
    """Intersection over union of two maps' places above even odds."""
    found, drawn = found_HW > 0.5, mask_HW > 0.5
    return float((found & drawn).sum()) / max(1, int((found | drawn).sum()))
