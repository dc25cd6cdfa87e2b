"""Pseudo-masks for the world from the small CLIP alone: where an image agrees with a class's words.

Shapes: B images, N classes, D dimensions of CLIP's space, h x w cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.data.world import CLASSES
from tlg.model.text import TextVectors
from tlg.model.tiny_clip import WordTokenizer, dense_image_vectors, pooled_agreement

TEMPLATE = "a photo of a {}."


class WorldText:
    """Text vectors of the world's classes: name, name with attributes, usual backgrounds."""

    def __init__(self, clip: open_clip.CLIP, tokenizer: WordTokenizer) -> None:
        self.names = list(CLASSES)
        kinds = CLASSES.values()
        self.foreground, self.refined, self.background = (
            _unit_vectors(clip, tokenizer, texts)
            for texts in (
                [kind.name for kind in kinds],
                [kind.attributes for kind in kinds],
                [" and ".join(kind.contexts) for kind in kinds],
            )
        )
        self._row = {name: row for row, name in enumerate(self.names)}

    def of(self, classes: Sequence[str]) -> TextVectors:
        rows = [self._row[name] for name in classes]
        return TextVectors(self.foreground[rows], self.refined[rows], self.background[rows])


@torch.no_grad()
def _unit_vectors(clip: open_clip.CLIP, tokenizer: WordTokenizer, texts: Sequence[str]) -> Tensor:
    return F.normalize(clip.encode_text(tokenizer([TEMPLATE.format(text) for text in texts])), dim=-1)


@torch.no_grad()
def image_cells(clip: open_clip.CLIP, images_B3HW: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        cells_BDhw = dense_image_vectors(clip, images_B3HW)
    return cells_BDhw.float()


@torch.no_grad()
def text_prior(clip: open_clip.CLIP, cells_BDhw: Tensor, class_ND: Tensor) -> Tensor:
    """(B,N,h,w) of 0..1: the odds of each cell by CLIP's own scale and bias."""
    cosine_BNhw = torch.einsum("bdhw,nd->bnhw", F.normalize(cells_BDhw, dim=1), class_ND)
    return torch.sigmoid(clip.logit_scale.exp() * cosine_BNhw + clip.logit_bias)


@torch.no_grad()
def text_presence(clip: open_clip.CLIP, cells_BDhw: Tensor, class_ND: Tensor) -> Tensor:
    """(B,N) of 0..1."""
    return torch.sigmoid(clip.logit_scale.exp() * pooled_agreement(cells_BDhw, class_ND) + clip.logit_bias)
