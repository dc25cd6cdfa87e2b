"""`tlg prior IMAGE... --exemplars SET --out DIR`: what the model is fed, for a person to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tlg import pictures, store
from tlg.annotators.network import NetworkAnnotator
from tlg.annotators.protocol import AnnotateParams
from tlg.answers.formats import overlay
from tlg.evidence import Prior
from tlg.evidence.open_clip.image_prior import ImagePrior, TextSide, at_own_size
from tlg.exemplars import LoadedExemplars
from tlg.hub.folder import Model

# RGB pixels -> maps (N, h, w) in 0..1 at the picture's own size, presence (N,).
Look = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def as_fed(model: Model, exemplars: LoadedExemplars) -> Look:
    """What the annotator hands to the model's network."""
    return Onlooker(replace(model, network=None), exemplars, AnnotateParams()).look


class Onlooker(NetworkAnnotator):
    """The annotator up to where it asks the network: exemplars' maps, fused with what names say.

    All classes are shown, as the network is fed them where all are present.
    """

    @torch.inference_mode()
    def look(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image_13HW = self._input(pixels)
        features = self._encode(image_13HW)
        seen = None if self.names is None else self.names.see(image_13HW, features)
        maps_NHW = self._maps(features, image_13HW, seen, range(len(self.class_names)))
        return at_own_size(maps_NHW, pixels), self._presence(features, seen)[0].cpu().numpy()


def with_text(model: Model, exemplars: LoadedExemplars, text: TextSide) -> Look:
    """The exemplars' maps fused with those of another CLIP than the model's own."""
    prior = ImagePrior(model.backbone, model.input_size[0], Prior(model.background), text)

    def look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (maps,), presence = prior.of_pictures([pixels], exemplars)
        return maps, presence[0]

    return look


def write_maps(
    uris: Sequence[str],
    class_names: Sequence[str],
    look: Look,
    out: Path,
) -> list[tuple[str, str, float, Path]]:
    """For every image and class `<image>--<class>.map.png` and `.overlay.png`; returns (uri, class, presence, map)."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for uri in uris:
        pixels = pictures.decode(store.read(uri)).pixels
        maps, presence = look(pixels)
        for class_name, map_hw, probability in zip(class_names, maps, presence, strict=True):
            stem = f"{Path(uri).stem}--{class_name}".replace("/", "_")
            path = out / f"{stem}.map.png"
            Image.fromarray((map_hw * 255).round().astype(np.uint8)).save(path)
            Image.fromarray(overlay.tinted(pixels, map_hw)).save(out / f"{stem}.overlay.png")
            written.append((uri, class_name, float(probability), path))
    return written
