"""The names that any open_clip model knows, which is all of them; their exemplars decide whether one is believed.

Shapes: B pictures, N names, H x W the input size, S x S the size that CLIP reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.fusion import bounded
from tlg.network.features import Features

if TYPE_CHECKING:
    from tlg.evidence.open_clip.image_prior import TextSide


@dataclass
class Picture:
    """One as CLIP reads it, and what CLIP says of it; maps are of all names together, and made when first needed."""

    image: Tensor  # (1, 3, S, S)
    odds: Tensor  # (N,)
    maps: Tensor | None = None  # (N, S, S)


class Pictures:
    """What is seen: indexed by rows, so that maps which were made are found again."""

    def __init__(self, rows: Sequence[Picture]) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: list[int] | slice) -> Pictures:
        return Pictures(self.rows[rows] if isinstance(rows, slice) else [self.rows[row] for row in rows])


class OpenClipNames:
    """See `tlg.evidence.names.evidence.NameEvidence`. Names contend with one another and with background prompts."""

    def __init__(self, clip: TextSide, names: Sequence[str], size: tuple[int, int]) -> None:
        self.known = [True] * len(names)
        self._clip, self._size = clip, size
        # Class activation follows gradients, which tensors of inference mode do not carry; so below.
        with torch.inference_mode(False):
            self._texts = clip.texts(names, "")
        # A name that fits no better than any one of the prompts has this.
        self._chance = -math.log(len(clip.prior.spec.background))

    def see(self, images_B3HW: Tensor, features: Features) -> Pictures:
        with torch.inference_mode(False), torch.no_grad():
            images_B3SS = self._clip.input_of(images_B3HW.clone())
            odds_BN = bounded(self._clip.prior.presence_evidence(images_B3SS, self._texts) - self._chance)
        return Pictures([Picture(images_B3SS[[row]], odds_BN[row]) for row in range(len(images_B3SS))])

    def odds(self, seen: Pictures) -> Tensor:
        return torch.stack([picture.odds for picture in seen.rows])

    def map(self, seen_1: Pictures, index: int) -> Tensor:
        (picture,) = seen_1.rows
        if picture.maps is None:
            with torch.inference_mode(False):
                picture.maps = self._clip.prior.maps(picture.image, self._texts)[0]
        map_11SS = picture.maps[index][None, None]
        return F.interpolate(map_11SS, size=self._size, mode="bilinear", align_corners=False)[0, 0].clamp(0, 1)
