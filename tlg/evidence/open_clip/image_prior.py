"""The prior as one call: images and an exemplar set in, maps and presence out.

Shapes: B images, N classes, S exemplars and negatives, H x W the backbone's input size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.evidence.exemplar import FittedPrior, Prior
from tlg.evidence.fusion import TextPresence, agreed, fuse
from tlg.evidence.open_clip.clip import CLIP_MEAN, CLIP_STD, ClassTexts, ClipPrior, check_prompt
from tlg.exemplars import LoadedExemplars
from tlg.exemplars.usable import check_usable
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.pictures import IMAGENET_MEAN, IMAGENET_STD, to_network_input

# Fitted exemplar sets kept at once; an endpoint that serves more refits the least used.
KEPT_SETS = 8


@dataclass(frozen=True)
class TextSide:
    """An open_clip model ready for priors: its image tower, its text encoder, its tokenizer."""

    prior: ClipPrior
    model: nn.Module
    tokenize: Callable[..., Tensor]
    context_length: int
    side: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """(P, E): what the texts mean, not yet of unit length."""
        tokens = self.tokenize(list(prompts), context_length=self.context_length)
        return self.model.encode_text(tokens.to(self.model.get_parameter("logit_scale").device))  # type: ignore[operator]

    def texts(self, names: Sequence[str], where: str) -> ClassTexts:
        """Of class names with the background prompts; a name that CLIP would not read whole is refused."""
        for name in names:
            prompt = self.prior.spec.template.format(name)
            check_prompt(prompt, self.tokenize, self.context_length, f"{where}class '{name}'")
        return self.prior.texts(names, self.encode)

    def input_of(self, images_B3HW: Tensor) -> Tensor:
        """ImageNet-normalised images as this model wants them."""

        def channels(values: tuple[float, ...]) -> Tensor:
            return images_B3HW.new_tensor(values)[:, None, None]

        pixels = images_B3HW * channels(IMAGENET_STD) + channels(IMAGENET_MEAN)
        pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True)
        return (pixels - channels(self.mean)) / channels(self.std)


@dataclass(frozen=True)
class FittedSet:
    exemplars: FittedPrior
    texts: ClassTexts | None = None
    text_presence: TextPresence | None = None


@dataclass
class ImagePrior:
    """`prior(images, exemplar_set) -> (maps (B, N, H, W), presence (B, N))`; exemplars are fitted once per digest."""

    backbone: Backbone
    side: int
    prior: Prior = field(default_factory=Prior)
    text: TextSide | None = None
    _fitted: OrderedDict[str, FittedSet] = field(default_factory=OrderedDict, repr=False)

    @torch.no_grad()
    def __call__(self, images_B3HW: Tensor, exemplars: LoadedExemplars) -> tuple[Tensor, Tensor]:
        """Images are ImageNet-normalised and on the backbone's device."""
        fitted = self.fit(exemplars)
        query = self.encode(images_B3HW)
        maps, presence = fitted.exemplars.maps(query, images_B3HW), fitted.exemplars.presence(query)
        if self.text is None or fitted.texts is None or fitted.text_presence is None:
            return maps, presence
        clip_images = self.text.input_of(images_B3HW)
        text_maps = self.text.prior.maps(clip_images, fitted.texts)
        text_maps = F.interpolate(text_maps, size=maps.shape[-2:], mode="bilinear", align_corners=False)
        evidence = self.text.prior.presence_evidence(clip_images, fitted.texts)
        return fuse(maps, text_maps), agreed(presence, fitted.text_presence.probability(evidence))

    def of_pictures(
        self, pictures: Sequence[np.ndarray], exemplars: LoadedExemplars
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """RGB pixels of any sizes -> maps (N, h, w) at each picture's own size, presence (B, N)."""
        device = next(self.backbone.parameters()).device
        batch = torch.stack([to_network_input(pixels, self.side) for pixels in pictures]).to(device)
        maps, presence = self(batch, exemplars)
        own = [at_own_size(map_hw, pixels) for map_hw, pixels in zip(maps, pictures, strict=True)]
        return own, presence.cpu().numpy()

    def fit(self, exemplars: LoadedExemplars) -> FittedSet:
        if exemplars.digest not in self._fitted:
            self._fitted[exemplars.digest] = self._fit(exemplars)
            while len(self._fitted) > KEPT_SETS:
                self._fitted.popitem(last=False)
        self._fitted.move_to_end(exemplars.digest)
        return self._fitted[exemplars.digest]

    @torch.no_grad()
    def encode(self, images_B3HW: Tensor) -> Features:
        return Features(self.backbone(images_B3HW), (images_B3HW.shape[2], images_B3HW.shape[3]))

    @torch.no_grad()
    def _fit(self, exemplars: LoadedExemplars) -> FittedSet:
        check_usable(exemplars)
        device = next(self.backbone.parameters()).device
        labels: list[int | None] = []
        inputs, masks = [], []
        for index, shown_class in enumerate(exemplars.classes):
            for exemplar in shown_class.exemplars:
                labels.append(index)
                inputs.append(to_network_input(exemplar.pixels, self.side))
                masks.append(None if exemplar.mask is None else resized_mask(exemplar.mask, self.side).to(device))
        for exemplar in exemplars.negatives:
            labels.append(None)
            inputs.append(to_network_input(exemplar.pixels, self.side))
            masks.append(None)
        images = [picture[None].to(device) for picture in inputs]
        fitted = self.prior.fit(
            [(self.encode(image), label, mask) for image, label, mask in zip(images, labels, masks, strict=True)]
        )
        if self.text is None:
            return FittedSet(fitted)
        texts = self.text.texts(exemplars.class_names, f"{exemplars.name}: ")
        evidence = [self.text.prior.presence_evidence(self.text.input_of(image), texts) for image in images]
        return FittedSet(fitted, texts, TextPresence.fit(torch.cat(evidence), labels))


def at_own_size(maps_NHW: Tensor, pixels: np.ndarray) -> np.ndarray:
    """(N, h, w): the maps of a picture at its own size."""
    resized = F.interpolate(maps_NHW[None], size=pixels.shape[:2], mode="bilinear", align_corners=False)
    return resized[0].cpu().numpy()


def resized_mask(mask_hw: np.ndarray, side: int) -> Tensor:
    mask = torch.from_numpy(mask_hw.astype(np.float32))[None, None]
    return F.interpolate(mask, size=(side, side), mode="area")[0, 0]
