"""Intersection over union the way few-shot segmentation reports it: summed per class, then averaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class IoUTally:
    """Intersections and unions over many answered episodes.

    mIoU: pixels are summed per class over all its episodes, divided, and the classes averaged.
    FB-IoU: foreground and background are summed over all episodes whatever the class, divided, and averaged.
    """

    class_inter: dict[int, int] = field(default_factory=dict)
    class_union: dict[int, int] = field(default_factory=dict)
    fb_inter: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    fb_union: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    episodes: int = 0

    def add(self, class_id: int, answer_HW: np.ndarray, truth_HW: np.ndarray, ignored_HW: np.ndarray) -> None:
        """Count one answered episode; pixels of `ignored_HW` do not count at all."""
        shapes = {answer_HW.shape, truth_HW.shape, ignored_HW.shape}
        if len(shapes) > 1:
            raise ValueError(f"answer, truth and ignored pixels differ in size: {sorted(shapes)}")
        seen = ~ignored_HW.astype(bool)
        answer, truth = answer_HW.astype(bool) & seen, truth_HW.astype(bool) & seen
        inter, union = int((answer & truth).sum()), int((answer | truth).sum())
        self.class_inter[class_id] = self.class_inter.get(class_id, 0) + inter
        self.class_union[class_id] = self.class_union.get(class_id, 0) + union
        background_inter, pixels = int((seen & ~answer & ~truth).sum()), int(seen.sum())
        self.fb_inter += (background_inter, inter)
        self.fb_union += (pixels - inter, union)
        self.episodes += 1

    def merge(self, other: IoUTally) -> None:
        """Count what another tally (of another process, say) has counted."""
        for class_id, inter in other.class_inter.items():
            self.class_inter[class_id] = self.class_inter.get(class_id, 0) + inter
            self.class_union[class_id] = self.class_union.get(class_id, 0) + other.class_union[class_id]
        self.fb_inter += other.fb_inter
        self.fb_union += other.fb_union
        self.episodes += other.episodes

    def class_iou(self, class_id: int) -> float:
        return self.class_inter.get(class_id, 0) / max(self.class_union.get(class_id, 0), 1)

    def mean_iou(self, class_ids: Iterable[int] | None = None) -> float:
        """Mean over `class_ids`, a class without any episode counting 0; over the classes seen if None."""
        ids = sorted(self.class_union) if class_ids is None else list(class_ids)
        return float(np.mean([self.class_iou(class_id) for class_id in ids])) if ids else 0.0

    def fb_iou(self) -> float:
        return float((self.fb_inter / np.maximum(self.fb_union, 1)).mean())
