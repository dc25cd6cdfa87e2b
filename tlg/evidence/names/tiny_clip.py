"""The names that a model's own tiny CLIP learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.fusion import bounded_log_odds
from tlg.evidence.tiny_clip import TinyClip
from tlg.network.features import Features
from tlg.network.text import TextVectors


class TinyClipNames:
    """See `tlg.evidence.names.evidence.NameEvidence`; what is seen are CLIP's cells (B, D, h, w)."""

    def __init__(self, clip: TinyClip, names: Sequence[str], text: TextVectors, size: tuple[int, int]) -> None:
        self.known = [clip.knows(name) for name in names]
        self._clip, self._text, self._size = clip, text, size

    def see(self, images_B3HW: Tensor, features: Features) -> Tensor:
        return self._clip.cells(images_B3HW)

    def odds(self, seen: Tensor) -> Tensor:
        return bounded_log_odds(self._clip.presence(seen, self._text.foreground))

    def map(self, seen_1: Tensor, index: int) -> Tensor:
        map_11hw = self._clip.prior(seen_1, self._text.foreground[[index]])
        return F.interpolate(map_11hw, size=self._size, mode="bilinear", align_corners=False)[0, 0]
