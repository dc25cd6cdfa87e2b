"""The Annotator of a real model: prior, presence and TLG behind one call.

Shapes: B pictures, N classes of the exemplar set, A classes that are in the same pictures, S exemplars, H x W the
model's input size, D the width of text vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.annotators.protocol import AnnotateParams
from tlg.answers.records import Answer, answer_from_mask
from tlg.evidence.exemplar import FittedPrior, Prior
from tlg.evidence.fusion import TextPresence, bounded_log_odds, fuse
from tlg.evidence.open_clip.image_prior import check_usable, resized_mask
from tlg.evidence.text_encoder import ClassText
from tlg.exemplars import LoadedExemplars
from tlg.hub.folder import Model
from tlg.network.features import Features
from tlg.network.text import TextVectors
from tlg.network.tlg import Support
from tlg.pictures import Picture, to_network_input

# Below it a class is more likely absent than present, and the network is not run for it.
PRESENT = 0.5
# Pictures worked on at once; more gains nothing on a CPU and bounds the memory everywhere.
PICTURES_AT_ONCE = 8
# Probabilities are rounded to this many decimals, so that the company an image comes in never tips a pixel.
DECIMALS = 3


@dataclass(frozen=True)
class Evidence:
    """What the prior says about a batch: where (B, N, H, W) and whether at all (B, N)."""

    maps: Tensor
    presence: Tensor


@dataclass(frozen=True)
class NetworkModel:
    """See `tlg.annotators.protocol.LoadedModel`."""

    model: Model

    @property
    def digest(self) -> str:
        return self.model.digest

    def without_network(self) -> NetworkModel:
        """The model's prior alone, to see what the network adds."""
        return NetworkModel(replace(self.model, network=None))

    def with_exemplars(self, exemplars: LoadedExemplars, params: AnnotateParams | None = None) -> NetworkAnnotator:
        return NetworkAnnotator(self.model, exemplars, params or AnnotateParams())


class NetworkAnnotator:
    """Exemplars are encoded when it is made; `annotate` then costs one backbone pass per picture and little more."""

    def __init__(self, model: Model, exemplars: LoadedExemplars, params: AnnotateParams):
        check_usable(exemplars)
        self.model = model
        self.network = model.network
        self.model_digest = model.digest
        self.exemplars_digest = exemplars.digest
        self.params = params
        self.class_names = exemplars.class_names
        self.device = next(model.backbone.parameters()).device
        texts = [ClassText(one.name, one.attributes, one.context) for one in exemplars.classes]
        # Of a name that CLIP never learned its vectors say nothing: such classes go by their exemplars alone.
        clip = model.clip
        self.known = [True if clip is None else clip.knows(one.name) for one in texts]
        encoder = model.text_encoder(str(self.device)) if clip is not None or self._reads_text() else None
        self.text: TextVectors | None = None if encoder is None else encoder.encode(texts).to(self.device)
        with torch.inference_mode():
            self.fitted, self.text_presence, self.supports = self._encode_exemplars(exemplars)

    def _reads_text(self) -> bool:
        return self.network is not None and self.network.spec.text

    def _encode_exemplars(self, exemplars: LoadedExemplars) -> tuple[FittedPrior, TextPresence | None, list[Support]]:
        labelled = [(one, index) for index, of in enumerate(exemplars.classes) for one in of.exemplars]
        unlabelled = [(one, None) for one in exemplars.negatives]
        size = self.model.input_size
        batches, known_maps, entries, spoken = [], [], [], []
        for exemplar, label in [*labelled, *unlabelled]:
            image_13HW = to_network_input(exemplar.pixels, size)[None].to(self.device)
            features = self._encode(image_13HW)
            mask = None if exemplar.mask is None else resized_mask(exemplar.mask, size[0]).to(self.device)
            entries.append((features, label, mask))
            batches.append(features)
            text = self._text_evidence(image_13HW)
            known_maps.append(None if text is None else text.maps[0])
            if text is not None:
                spoken.append(bounded_log_odds(text.presence))
        fitted = Prior(self.model.background).fit(entries)
        labels = [label for _, label, _ in entries]
        text_presence = TextPresence.fit(torch.cat(spoken), labels) if spoken else None
        if self.network is None:
            return fitted, text_presence, []
        supports = []
        for index in range(len(exemplars.classes)):
            rows = [row for row, (_, label) in enumerate(labelled) if label == index]
            own_SHW = torch.stack([self._own_map(fitted, known_maps[row], entries[row][2], row, index) for row in rows])
            vectors = self.text[[index]] if self.text is not None and self.known[index] else None
            shots = Features.cat([batches[row] for row in rows])
            supports.append(self.network.encode_support(shots, own_SHW, vectors))
        return fitted, text_presence, supports

    def _own_map(
        self, fitted: FittedPrior, text_NHW: Tensor | None, mask_HW: Tensor | None, row: int, index: int
    ) -> Tensor:
        """An exemplar's map of its own class: its mask, or what exemplars and text say."""
        if mask_HW is not None or text_NHW is None or not self.known[index]:
            return fitted.support_maps[row]
        return fuse(fitted.support_maps[row], text_NHW[index])

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        """See `tlg.annotators.protocol.Annotator`."""
        wanted = [self._wanted(None if asked is None else asked[row]) for row in range(len(pictures))]
        answers: list[list[Answer]] = []
        for start in range(0, len(pictures), PICTURES_AT_ONCE):
            some = slice(start, start + PICTURES_AT_ONCE)
            answers += self._annotate_some(pictures[some], wanted[some])
        return answers

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
    def _annotate_some(self, pictures: Sequence[Picture], wanted: Sequence[list[int]]) -> list[list[Answer]]:
        images_B3HW = torch.stack([to_network_input(one.pixels, self.model.input_size) for one in pictures])
        images_B3HW = images_B3HW.to(self.device)
        features = self._encode(images_B3HW)
        evidence = self._evidence(features, images_B3HW)
        presence_BN = evidence.presence.cpu().numpy()
        rows_of_class: dict[int, list[int]] = {}
        for row, some in enumerate(wanted):
            for index in some:
                if presence_BN[row, index] >= PRESENT:
                    rows_of_class.setdefault(index, []).append(row)
        foreground = self._foreground(features, evidence, rows_of_class)
        return [
            [
                self._answer(picture, index, float(presence_BN[row, index]), foreground.get((row, index)))
                for index in wanted[row]
            ]
            for row, picture in enumerate(pictures)
        ]

    def _encode(self, images_B3HW: Tensor) -> Features:
        images_B3HW = images_B3HW.contiguous(memory_format=torch.channels_last)
        return Features(self.model.backbone(images_B3HW), (images_B3HW.shape[2], images_B3HW.shape[3]))

    def _evidence(self, features: Features, images_B3HW: Tensor) -> Evidence:
        maps_BNHW, presence_BN = self.fitted.maps(features, images_B3HW), self.fitted.presence(features)
        text = self._text_evidence(images_B3HW)
        if text is None or self.text_presence is None:
            return Evidence(maps_BNHW, presence_BN)
        text_presence_BN = self.text_presence.probability(bounded_log_odds(text.presence))
        known_N = torch.tensor(self.known, device=self.device)
        return Evidence(
            torch.where(known_N[:, None, None], fuse(maps_BNHW, text.maps), maps_BNHW),
            torch.where(known_N, fuse(presence_BN, text_presence_BN), presence_BN),
        )

    def _text_evidence(self, images_B3HW: Tensor) -> Evidence | None:
        """What the model's own CLIP says, where it has one."""
        if self.model.clip is None or self.text is None:
            return None
        cells_BDhw = self.model.clip.cells(images_B3HW)
        maps_BNhw = self.model.clip.prior(cells_BDhw, self.text.foreground)
        maps_BNHW = F.interpolate(maps_BNhw, size=images_B3HW.shape[-2:], mode="bilinear", align_corners=False)
        return Evidence(maps_BNHW, self.model.clip.presence(cells_BDhw, self.text.foreground))

    def _foreground(
        self, features: Features, evidence: Evidence, rows_of_class: Mapping[int, Sequence[int]]
    ) -> dict[tuple[int, int], Tensor]:
        """(H, W) by picture and class: the probability of the class at every place, for the pairs asked."""
        if self.network is None:
            return {(row, index): evidence.maps[row, index] for index, rows in rows_of_class.items() for row in rows}
        # Classes that are in the same pictures go through the network together.
        together: dict[tuple[tuple[int, ...], bool], list[int]] = {}
        for index, rows in rows_of_class.items():
            together.setdefault((tuple(rows), self.known[index]), []).append(index)
        found: dict[tuple[int, int], Tensor] = {}
        for (rows, known), classes in together.items():
            text = self.text[classes] if self.text is not None and known else None
            prior_BAHW = evidence.maps[list(rows)][:, classes]
            supports = [self.supports[index] for index in classes]
            logits_BA2HW = self.network.segment(features[list(rows)], prior_BAHW, supports, text)
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
        map_HW = map_HW.mul(10**DECIMALS).round().div(10**DECIMALS)
        quality = soft_iou(map_HW)
        native = F.interpolate(
            map_HW[None, None], size=(picture.height, picture.width), mode="bilinear", align_corners=False
        )
        mask_HW: np.ndarray = (native[0, 0] > 0.5).cpu().numpy()
        score = round((presence * quality) ** 0.5, DECIMALS)
        return answer_from_mask(name, class_id, mask_HW, score, presence, self.params.min_score)


def soft_iou(map_HW: Tensor) -> float:
    """How decided a map is: the expected overlap of its mask with itself, 1 where every pixel is certain."""
    mask_HW = map_HW > 0.5
    union = torch.where(mask_HW, torch.ones_like(map_HW), map_HW).sum()
    return float(map_HW[mask_HW].sum() / union.clamp_min(1e-6))
