"""What the frozen backbone makes of augmented views: computed on the fly, or kept on disk once seen.

On a CPU the backbone costs more than the trainable part, and it never changes: a fixed number of variants per
photograph, each passed through the backbone once, makes training several times faster.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tlg.data.pool import View, Views
from tlg.model.backbone import Backbone
from tlg.model.features import Features

ENDLESS_VARIANTS = 2**31
RECENT_VIEWS = 512


class LiveFeatures:
    """Every view through the backbone when it is asked for; any number of variants."""

    variants = ENDLESS_VARIANTS

    def __init__(self, views: Views, backbone: Backbone, device: torch.device, half: bool) -> None:
        self.views, self.backbone, self.device, self.half = views, backbone, device, half
        self._recent = lru_cache(RECENT_VIEWS)(views.__call__)

    def _view(self, position: int, variant: int) -> View:
        return self._recent(position, variant)

    def label(self, position: int, variant: int) -> Tensor:
        return self._view(position, variant).label_HW

    def features(self, views: list[tuple[int, int]]) -> Features:
        images = torch.stack([self._view(*view).image_3HW for view in views]).to(self.device)
        # Convolutions on a CPU are about three times faster with channels last.
        images = images.contiguous(memory_format=torch.channels_last)
        cast = torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()
        with torch.inference_mode(), cast:
            maps = self.backbone(images)
        # Cloned outside inference mode: autograd may save them.
        return Features([one.float().clone() for one in maps], (images.shape[-2], images.shape[-1]))


class CachedFeatures:
    """A fixed number of variants per photograph, in half precision on disk; each is computed when first asked for."""

    def __init__(self, live: LiveFeatures, variants: int, folder: Path) -> None:
        self.live, self.variants = live, variants
        self.size = (live.views.side, live.views.side)
        folder.mkdir(parents=True, exist_ok=True)
        rows = variants * len(live.views.pool)
        probe = live.backbone(torch.zeros(1, 3, *self.size, device=live.device))
        shapes = {f"map{index}": (rows, *one.shape[1:]) for index, one in enumerate(probe)}
        half = live.views.side // 2
        self._maps = [_array(folder / name, shape, np.float16) for name, shape in shapes.items()]
        self._labels = _array(folder / "labels", (rows, half, half), np.int16)
        self._known = _array(folder / "known", (rows,), np.uint8)
        self._labelled = _array(folder / "labelled", (rows,), np.uint8)

    def _row(self, view: tuple[int, int]) -> int:
        return view[0] * self.variants + view[1]

    def label(self, position: int, variant: int) -> Tensor:
        row = self._row((position, variant))
        if not self._labelled[row]:
            self._labels[row] = self.live.label(position, variant).numpy()
            self._labelled[row] = 1
        return torch.from_numpy(self._labels[row].copy())

    def features(self, views: list[tuple[int, int]]) -> Features:
        unseen = [view for view in dict.fromkeys(views) if not self._known[self._row(view)]]
        if unseen:
            rows = [self._row(view) for view in unseen]
            for array, one in zip(self._maps, self.live.features(unseen).maps, strict=True):
                array[rows] = one.half().cpu().numpy()
            self._known[rows] = 1
        rows = [self._row(view) for view in views]
        maps = [torch.from_numpy(array[rows]).to(self.live.device).float() for array in self._maps]
        return Features(maps, self.size)


def _array(path: Path, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """A memory-mapped array that survives a killed run; zeros at first."""
    file = path.with_suffix(".npy")
    if file.exists():
        array = np.load(file, mmap_mode="r+")
        if array.shape == shape:
            return array
    return np.lib.format.open_memmap(file, mode="w+", dtype=kind, shape=shape)
