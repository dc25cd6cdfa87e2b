"""What the frozen backbone makes of views: computed on the fly, or kept on disk once seen.

On a CPU the backbone costs as much as the trainable part, and it never changes: with a fixed number of variants per
photograph each is passed through it once, for all folds, seeds and ablations that share the folder.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.training.batches.pool import Views

ENDLESS_VARIANTS = 2**31
REMEMBERED_LABELS = 8192


class FeatureSource(Protocol):
    """Views of a pool as the frozen backbone sees them."""

    variants: int

    def label(self, position: int, variant: int) -> Tensor:
        """(h, w) pool classes."""

    def features(self, views: list[tuple[int, int]]) -> Features: ...


class LiveFeatures:
    """Every view through the backbone when it is asked for; any number of variants, or the plain view alone."""

    def __init__(self, views: Views, backbone: Backbone, device: torch.device, half: bool, augment: bool) -> None:
        self.variants = ENDLESS_VARIANTS if augment else 1
        self.views, self.backbone, self.device, self.half = views, backbone, device, half
        self.label = lru_cache(REMEMBERED_LABELS)(views.label)

    def features(self, views: list[tuple[int, int]]) -> Features:
        images = torch.stack([self.views.image(*view) for view in views]).to(self.device)
        # Convolutions on a CPU are about three times faster with channels last.
        images = images.contiguous(memory_format=torch.channels_last)
        cast = torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()
        with torch.no_grad(), cast:
            maps = self.backbone(images)
        return Features([level.float().contiguous() for level in maps], (images.shape[-2], images.shape[-1]))


class CachedFeatures:
    """A fixed number of variants per photograph, one file each in half precision; computed when first asked for."""

    def __init__(self, live: LiveFeatures, variants: int, folder: Path) -> None:
        self.live, self.variants, self.folder, self.label = live, variants, folder, live.label
        self.size = (live.views.side, live.views.side)
        folder.mkdir(parents=True, exist_ok=True)
        self._weights = weights_digest(live.backbone)

    def features(self, views: list[tuple[int, int]]) -> Features:
        unseen = [view for view in dict.fromkeys(views) if not self._file(view).exists()]
        if unseen:
            maps = [level.half().cpu() for level in self.live.features(unseen).maps]
            for row, view in enumerate(unseen):
                self._keep(view, [level[row].clone() for level in maps])
        rows = [torch.load(self._file(view), weights_only=True) for view in views]
        return Features([torch.stack(maps).to(self.live.device).float() for maps in zip(*rows, strict=True)], self.size)

    def _file(self, view: tuple[int, int]) -> Path:
        name = f"{self._weights}, {self.live.views.key(*view)}"
        return self.folder / f"{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}.pt"

    def _keep(self, view: tuple[int, int], maps: list[Tensor]) -> None:
        keep(self._file(view), maps)


def keep(file: Path, maps: list[Tensor]) -> None:
    """Written aside first: a killed run, or another process, never leaves or sees half a file."""
    aside = file.with_suffix(f".{os.getpid()}")
    torch.save(maps, aside)
    aside.replace(file)


def weights_digest(backbone: Backbone) -> str:
    digest = hashlib.blake2b(backbone.name.encode(), digest_size=12)
    if backbone.taps is not None:
        digest.update(repr(backbone.taps).encode())
    for value in backbone.state_dict().values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
