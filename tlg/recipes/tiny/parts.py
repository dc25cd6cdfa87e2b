"""The trained parts together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tlg.evidence.text_encoder import ClassText
from tlg.evidence.tiny_clip import TinyClip
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG
from tlg.world import CLASSES


class Words:
    """CLIP's view of images and of the world's classes, whose text vectors are made once."""

    def __init__(self, clip: TinyClip) -> None:
        self.clip = clip
        self.vectors = clip.encode([ClassText(kind.name, kind.attributes, kind.contexts) for kind in CLASSES.values()])
        self._row = {name: row for row, name in enumerate(CLASSES)}

    def of(self, classes: Sequence[str]) -> TextVectors:
        return self.vectors[[self._row[name] for name in classes]]

    def own_prior(self, images_I3HW: Tensor, class_ID: Tensor) -> Tensor:
        """(I,h,w): each image's prior for its own class alone."""
        with torch.autocast("cpu", torch.bfloat16):
            cells_IDhw = self.clip.cells(images_I3HW)
        maps_IIhw = self.clip.prior(cells_IDhw, class_ID)
        return maps_IIhw.diagonal().permute(2, 0, 1)


@dataclass(frozen=True)
class Parts:
    """What the recipe makes: TLG on its backbone, and CLIP."""

    network: TLG
    words: Words
