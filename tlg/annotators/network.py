"""The Annotator of a real model: prior, presence and TLG behind one call.

Shapes: B pictures, N classes of the exemplar set, A classes that are in the same pictures, S exemplars, H x W the
model's input size, D the width of text vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlg.annotators.masks import mask_of_size, soft_iou
from tlg.annotators.naming import names_of, text_of
from tlg.annotators.protocol import PRESENT, AnnotateParams, BackgroundArrays
from tlg.answers.objects import with_parts
from tlg.answers.records import Answer, answer_from_mask
from tlg.errors import SpecError
from tlg.evidence.background import Background
from tlg.evidence.drawn import given_map
from tlg.evidence.exemplar import Prior, ceded, handed_over
from tlg.evidence.fusion import TextPresence, agreed_where_trusted, fuse
from tlg.evidence.names.evidence import NameEvidence, taught_names
from tlg.evidence.names.said import borne_out, said
from tlg.evidence.own_maps import Shown, own_maps
from tlg.evidence.reach import Witnesses
from tlg.evidence.readiness import Readiness, readiness
from tlg.exemplars import LoadedExemplar, LoadedExemplars
from tlg.exemplars.usable import check_usable
from tlg.hub.folder import Model
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.network.named import Named
from tlg.network.tlg import TLG, Support
from tlg.pictures import Picture, to_network_input

# Scores and probabilities are told to this many decimals.
DECIMALS = 3
# Kernels sum in an order that depends on the shape, so that an answer would depend on the batch in its last bits. A CPU
# gains little by a batch and takes picture by picture; a GPU, which gains a lot, takes the batch as it is.
PICTURES_AT_ONCE = {"cpu": 1}
# So much of exemplars' pyramids is kept until the network reads them; of further exemplars a second pass is made.
KEPT_PYRAMIDS_BYTES = 128 * 2**20
# Presence of a name that has no exemplar is even where its log-odds are these: chance alone reaches half as much. What
# was taught with masks tells presence itself.
NAMED_ODDS = 2.0


@dataclass(frozen=True)
class NetworkModel:
    """See `tlg.annotators.protocol.LoadedModel`."""

    model: Model

    @property
    def digest(self) -> str:
        return self.model.digest

    @property
    def input_side(self) -> int:
        return max(self.model.input_size)

    @torch.inference_mode()
    def background_of(self, pictures: Iterable[Picture]) -> BackgroundArrays:
        """See `tlg.annotators.protocol.FitsBackground`."""
        device = next(self.model.backbone.parameters()).device
        inputs = (to_network_input(picture.pixels, self.model.input_size)[None].to(device) for picture in pictures)
        tensors = Background.fit([Prior().of_use(encoded(self.model.backbone, image)) for image in inputs]).tensors()
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def with_background(self, background: BackgroundArrays) -> NetworkModel:
        tensors = {name: torch.tensor(array) for name, array in background.items()}
        return NetworkModel(replace(self.model, background=Background.from_tensors(tensors)))

    def with_exemplars(self, exemplars: LoadedExemplars, params: AnnotateParams | None = None) -> NetworkAnnotator:
        has_none = exemplars.classes and not any(of.exemplars for of in exemplars.classes)
        make = NamesAnnotator if has_none else NetworkAnnotator
        return make(self.model, exemplars, params or AnnotateParams())


class NetworkAnnotator:
    """Exemplars are encoded when it is made; `annotate` then costs one backbone pass per picture and little more."""

    def __init__(self, model: Model, exemplars: LoadedExemplars, params: AnnotateParams):
        self._check(exemplars)
        self.model = model
        self.network = model.network
        self.model_digest = model.digest
        self.exemplars_digest = exemplars.digest
        self.params = params
        self.class_names = exemplars.class_names
        self.device = next(model.backbone.parameters()).device
        self.text = text_of(model, exemplars, self.device)
        self.names = names_of(model, exemplars, self.text)
        # Of a name that CLIP never learned its vectors say nothing: such classes go by their exemplars alone.
        self.known = [model.clip is None or model.clip.knows(name) for name in self.class_names]
        with torch.inference_mode():
            self._encode_exemplars(exemplars)

    def _check(self, exemplars: LoadedExemplars) -> None:
        check_usable(exemplars)

    def _encode_exemplars(self, exemplars: LoadedExemplars) -> None:
        """Sets `fitted`, `trusted`, `text_presence`, `supports` and `readiness`.

        Memory grows with the number of exemplars, and slowly: of a pyramid what the prior reads is kept, of the text
        maps an exemplar's own; the network, which reads whole pyramids, gets them class by class, and all but the
        first are made a second time.
        """
        prior = Prior(self.model.background)
        labelled = [(exemplar, index) for index, of in enumerate(exemplars.classes) for exemplar in of.exemplars]
        entries, own_texts, spoken = [], [], []
        kept: dict[int, Features] = {}
        for row, (exemplar, label) in enumerate([*labelled, *((negative, None) for negative in exemplars.negatives)]):
            image_13HW = self._input(exemplar.pixels)
            features = self._encode(image_13HW)
            if label is not None and (1 + len(kept)) * features.nbytes <= KEPT_PYRAMIDS_BYTES:
                kept[row] = features
            by_name_HW = None
            if self.names is not None:
                seen_1 = self.names.see(image_13HW, features)
                spoken.append(self.names.odds(seen_1))
                if label is not None and self.names.known[label]:
                    by_name_HW = self.names.map(seen_1, label)
            entries.append((prior.of_use(features), label, given_map(exemplar, image_13HW, features, by_name_HW)))
            own_texts.append(None if by_name_HW is None else by_name_HW.half())
        labels, masks = [label for _, label, _ in entries], [mask for _, _, mask in entries]
        self.fitted = prior.fit(handed_over(entries))
        self.text_presence = TextPresence.fit(torch.cat(spoken), labels) if spoken else None
        self.trusted = [] if self.names is None else borne_out(self.names, torch.cat(spoken), labels)
        self.supports: list[Support] = []
        self.readiness: list[Readiness] = []
        if self.network is None:
            return
        for index, of in enumerate(exemplars.classes):
            rows = [row for row, (_, label) in enumerate(labelled) if label == index]
            vectors = self.text[[index]] if self.text is not None and self.known[index] else None
            shots = Features.cat(
                [kept.pop(row) if row in kept else self._encode(self._input(labelled[row][0].pixels)) for row in rows]
            )
            own = own_maps(self.network, shots, [self._shown(own_texts[row], masks[row], row, index) for row in rows])
            self.supports.append(self.network.encode_support(shots, own.inside, vectors, own.outside, own.are_drawn))
            drawn = [masks[row] for row in rows]
            named = partial(self._named_exemplar, of.exemplars, shots, index)
            self.readiness.append(readiness(self.network, prior, shots, own, drawn, named))

    def _named_exemplar(self, shown: Sequence[LoadedExemplar], shots: Features, index: int, shot: int) -> Named | None:
        """What a class's name says of one of its exemplars."""
        if self.names is None:
            return None
        seen_1 = self.names.see(self._input(shown[shot].pixels), shots[[shot]])
        return said(self.names, seen_1, [index], self.trusted, shots.size)

    def _shown(self, text_HW: Tensor | None, mask_HW: Tensor | None, row: int, index: int) -> Shown:
        """What is known of an exemplar of a class: its mask, or what exemplars and names say."""
        text_HW = text_HW.float() if text_HW is not None and self.trusted[index] else None
        is_taught = self.names is not None and taught_names(self.names)[index]
        return Shown(self.fitted.support_maps[row], mask_HW is not None, text_HW, is_taught)

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        """See `tlg.annotators.protocol.Annotator`."""
        if not pictures:
            return []
        wanted = [self._wanted(None if asked is None else asked[row]) for row in range(len(pictures))]
        at_once = PICTURES_AT_ONCE.get(self.device.type, len(pictures))
        starts = range(0, len(pictures), at_once)
        passes = [self._annotate(pictures[at : at + at_once], wanted[at : at + at_once]) for at in starts]
        return [answers for some in passes for answers in some]

    def release_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def healthy(self) -> bool:
        """A GPU with an error that stays (an illegal access, a lost device) fails at the smallest piece of work."""
        try:
            return float(torch.ones(1, device=self.device).sum()) == 1.0
        except RuntimeError:
            return False

    def _wanted(self, asked: Sequence[str] | None) -> list[int]:
        return [index for index, name in enumerate(self.class_names) if asked is None or name in asked]

    @torch.inference_mode()
    def _annotate(self, pictures: Sequence[Picture], wanted: Sequence[list[int]]) -> list[list[Answer]]:
        images_B3HW = torch.cat([self._input(picture.pixels) for picture in pictures])
        features = self._encode(images_B3HW)
        seen = None if self.names is None else self.names.see(images_B3HW, features)
        # Picture by picture, as the maps are: what is computed there does not depend on the company.
        seen_of = [None if seen is None else seen[[row]] for row in range(len(pictures))]
        presences = [self._presence(features[[row]], seen_of[row]) for row in range(len(pictures))]
        presence_BN = torch.cat(presences).cpu().numpy()
        present_of: dict[int, list[int]] = {}
        for row, some in enumerate(wanted):
            # Whatever is asked, the classes of a picture contend for its places, so that what is asked changes nothing.
            present = [int(index) for index in np.flatnonzero(presence_BN[row] >= PRESENT)]
            if not set(some).isdisjoint(present):
                present_of[row] = present
        foreground = self._foreground(features, images_B3HW, seen_of, present_of, wanted)
        return [
            [
                self._answer(picture, index, float(presence_BN[row, index]), foreground.get((row, index)))
                for index in wanted[row]
            ]
            for row, picture in enumerate(pictures)
        ]

    def _input(self, pixels: np.ndarray) -> Tensor:
        """(1, 3, H, W)."""
        return to_network_input(pixels, self.model.input_size)[None].to(self.device)

    def _encode(self, images_B3HW: Tensor) -> Features:
        return encoded(self.model.backbone, images_B3HW)

    def _presence(self, features: Features, seen: Any) -> Tensor:
        """(B, N): the probability that the class is in the picture."""
        presence_BN = self.fitted.presence(features)
        if self.names is None or seen is None or self.text_presence is None:
            return presence_BN
        text_presence_BN = self.text_presence.probability(self.names.odds(seen))
        return agreed_where_trusted(presence_BN, text_presence_BN, self.trusted)

    def _maps(self, features: Features, image_13HW: Tensor, seen_1: Any, classes: Sequence[int]) -> Tensor:
        """(A, H, W) of one picture: where each of the classes is, by exemplars and names."""
        maps_AHW = self.fitted.maps(features, image_13HW, classes)[0]
        if self.names is None or seen_1 is None:
            return maps_AHW
        return torch.stack(
            [
                fuse(map_HW, self.names.map(seen_1, index)) if self.trusted[index] else map_HW
                for map_HW, index in zip(maps_AHW, classes, strict=True)
            ]
        )

    def _foreground(
        self,
        features: Features,
        images_B3HW: Tensor,
        seen_of: Sequence[Any],
        present_of: Mapping[int, list[int]],
        wanted: Sequence[list[int]],
    ) -> Mapping[tuple[int, int], Tensor]:
        """(H, W) by picture and class: the probability of the class at every place."""
        if self.network is not None and not self.network.reads_query_prior:
            return self._read(self.network, features, seen_of, present_of)
        maps: dict[tuple[int, int], Tensor] = {}
        for row, present in present_of.items():
            maps_AHW = self._maps(features[[row]], images_B3HW[[row]], seen_of[row], present)
            maps |= {(row, index): maps_AHW[place] for place, index in enumerate(present) if index in wanted[row]}
        return maps if self.network is None else self._decoded(self.network, features, maps)

    def _read(
        self,
        network: TLG,
        features: Features,
        seen_of: Sequence[Any],
        present_of: Mapping[int, list[int]],
    ) -> Mapping[tuple[int, int], Tensor]:
        """By a network that relates queries itself; picture by picture, so that company changes nothing."""
        found: dict[tuple[int, int], Tensor] = {}
        for row, present in present_of.items():
            seen_1 = seen_of[row]
            named = None
            if self.names is not None and seen_1 is not None:
                named = said(self.names, seen_1, present, self.trusted, features.size)
            supports = [self._support(network, index, features[[row]], seen_1) for index in present]
            logits_A2HW = network.segment(features[[row]], None, supports, None, named).float()[0]
            finest_Chw, name_odds = network.finest(features[[row]])[0], NameOdds(self.names, seen_1)
            margins = [
                self.readiness[index].applied(
                    logits_A2HW[place, 1] - logits_A2HW[place, 0],
                    Witnesses(
                        finest_Chw,
                        partial(self._prior_map, features[[row]], index),
                        named.place[0, place].sigmoid() if named is not None and self.trusted[index] else None,
                        partial(name_odds, index),
                    ),
                )
                for place, index in enumerate(present)
            ]
            foreground_1AHW = torch.stack(margins)[None].sigmoid()
            foreground_1AHW = foreground_1AHW * ceded(foreground_1AHW, foreground_1AHW.new_ones(1, len(present)))
            found |= {(row, index): foreground_1AHW[0, place] for place, index in enumerate(present)}
        return found

    def _prior_map(self, features: Features, index: int) -> Tensor:
        """(H, W) of one picture."""
        return self.fitted.maps(features, classes=[index])[0, 0]

    def _support(self, network: TLG, index: int, features: Features, seen_1: Any) -> Support:
        """What one picture is compared with, of one class."""
        return self.supports[index]

    def _decoded(
        self, network: TLG, features: Features, maps: Mapping[tuple[int, int], Tensor]
    ) -> Mapping[tuple[int, int], Tensor]:
        """By a network that decodes the prior's maps of queries."""
        rows_of_class: dict[int, list[int]] = {}
        for row, index in maps:
            rows_of_class.setdefault(index, []).append(row)
        # Classes that are in the same pictures go through the network together.
        together: dict[tuple[tuple[int, ...], bool], list[int]] = {}
        for index, of_class in rows_of_class.items():
            together.setdefault((tuple(of_class), self.known[index]), []).append(index)
        found: dict[tuple[int, int], Tensor] = {}
        for (rows, known), classes in together.items():
            text = self.text[classes] if self.text is not None and known else None
            prior_BAHW = torch.stack([torch.stack([maps[row, index] for index in classes]) for row in rows])
            supports = [self.supports[index] for index in classes]
            logits_BA2HW = network.segment(features[list(rows)], prior_BAHW, supports, text)
            foreground_BAHW = logits_BA2HW.float().softmax(dim=2)[:, :, 1]
            found |= {
                (row, index): foreground_BAHW[place, column]
                for place, row in enumerate(rows)
                for column, index in enumerate(classes)
            }
        return found

    def _answer(self, picture: Picture, index: int, presence: float, map_HW: Tensor | None) -> Answer:
        name, class_id, presence = self.class_names[index], index + 1, round(presence, DECIMALS)
        if map_HW is None:
            # Absent classes answer with their presence alone: the network was not asked where they might be.
            return Answer(name, class_id, "absent", presence, presence, picture.height, picture.width)
        mask_HW = mask_of_size(map_HW, picture.height, picture.width)
        score = round((presence * soft_iou(map_HW)) ** 0.5, DECIMALS)
        answer = answer_from_mask(name, class_id, mask_HW, score, presence, self.params.min_score)
        if not self.params.objects:
            return answer
        map_hw = map_HW.float().cpu().numpy()
        return with_parts(answer, mask_HW, map_hw, picture.pixels, self.params.smallest_object, DECIMALS)


class NamesAnnotator(NetworkAnnotator):
    """Classes without exemplars: what a name says of a picture makes the picture its own exemplar."""

    def _check(self, exemplars: LoadedExemplars) -> None:
        """Whether the names are known is seen when they have been asked for."""

    def _encode_exemplars(self, exemplars: LoadedExemplars) -> None:
        names = ", ".join(f"'{name}'" for name in self.class_names)
        if self.names is None or self.network is None or not self.network.spec.names:
            raise SpecError(
                f"model '{self.model.name}' does not read names, and there are no exemplars of {names};"
                " give one exemplar of each class, or choose tlg-photo"
            )
        unknown = [f"'{name}'" for name, known in zip(self.class_names, self.names.known, strict=True) if not known]
        if unknown:
            raise SpecError(
                f"{', '.join(unknown)}: model '{self.model.name}' knows no such thing by name; give an exemplar of it,"
                " or a plain English noun ('fox' instead of a variety's name)"
            )
        self.trusted = list(self.names.known)
        self.readiness = [Readiness()] * len(self.class_names)

    def _presence(self, features: Features, seen: Any) -> Tensor:
        assert self.names is not None
        assert seen is not None
        taught_N = torch.tensor(taught_names(self.names), device=self.device)
        return torch.sigmoid(self.names.odds(seen) - NAMED_ODDS * ~taught_N)

    def _support(self, network: TLG, index: int, features: Features, seen_1: Any) -> Support:
        assert self.names is not None
        assert seen_1 is not None
        return network.encode_support(features, self.names.map(seen_1, index)[None], None, are_drawn=False)


class NameOdds:
    """Log-odds that one picture shows names at all, whatever exemplars say of the names; made once, where asked for."""

    def __init__(self, names: NameEvidence | None, seen_1: Any) -> None:
        self._names, self._seen_1 = names, seen_1

    def __call__(self, index: int) -> float:
        return self._odds[index] if self._odds else 0.0

    @cached_property
    def _odds(self) -> list[float]:
        return [] if self._names is None or self._seen_1 is None else self._names.odds(self._seen_1)[0].tolist()


def encoded(backbone: Backbone, images_B3HW: Tensor) -> Features:
    images_B3HW = images_B3HW.contiguous(memory_format=torch.channels_last)
    return Features(backbone(images_B3HW), (images_B3HW.shape[2], images_B3HW.shape[3]))
