"""What one backbone pass over a batch of images gives; prior and network both read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """The pyramid of a batch: maps (B, C, h, w), shallow to deep, and the images' input size (H, W).

    `token` (B, C) is the class token of a backbone that has one.
    """

    maps: list[Tensor]
    size: tuple[int, int]
    token: Tensor | None = None

    def __len__(self) -> int:
        return self.maps[0].shape[0]

    def __getitem__(self, rows: slice | list[int] | Tensor) -> Features:
        """Some of the images, as Features again."""
        return Features(
            [plane[rows] for plane in self.maps], self.size, None if self.token is None else self.token[rows]
        )

    @property
    def nbytes(self) -> int:
        return sum(plane.numel() * plane.element_size() for plane in self.maps)

    def to(self, target: torch.device | torch.dtype | str) -> Features:
        token = None if self.token is None else self.token.to(target)
        return Features([plane.to(target) for plane in self.maps], self.size, token)

    @staticmethod
    def cat(parts: Sequence[Features]) -> Features:
        """The images of several passes of one input size as one batch."""
        maps = [torch.cat(maps) for maps in zip(*(part.maps for part in parts), strict=True)]
        tokens = [part.token for part in parts if part.token is not None]
        return Features(maps, parts[0].size, torch.cat(tokens) if tokens else None)
