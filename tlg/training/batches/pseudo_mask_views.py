"""Pseudo-masks as training reads them: cut, mirrored and put together exactly as the pictures are.

Shapes: B episodes, S shots, H x W the input size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tlg.training.batches.collage import Cut
from tlg.training.batches.pool import Pool, Views, altered
from tlg.training.pseudo_masks import PseudoMaskSpec

View = tuple[int, int]


class PseudoMaskViews(Views):
    """The pseudo-masks of a pool's views; side and seed have to be those that the pictures are seen with."""

    def __init__(self, pool: Pool, side: int, seed: int, masks: PseudoMaskSpec, fold: str) -> None:
        super().__init__(pool, side, seed)
        self.masks, self.fold = masks, fold

    def mask(self, view: View, class_id: int) -> Tensor:
        """(H, W): 1 where the view shows the pool's class; photographs without the class need no file."""
        position, variant = view
        if position not in self.pool.classes[class_id].photos:
            return torch.zeros(self.side, self.side)
        collection, photo = self.pool.entries[position]
        name = self.pool.classes[class_id].name
        own_id = next(number for number, known in collection.class_names.items() if known == name)
        mask_hw = self.masks.of(self.fold, collection.name).read(photo.id, own_id, name)
        image = altered(Image.fromarray(mask_hw.astype(np.uint8)), variant, self._rng(position, variant))
        return torch.from_numpy(np.array(image.resize((self.side, self.side), Image.Resampling.NEAREST))).float()

    def of_episodes(
        self, class_ids: Sequence[int], queries: Sequence[View], supports: Sequence[View], cuts: Sequence[Cut]
    ) -> tuple[Tensor, Tensor]:
        """Maps for the queries (B, H, W), collages made, and for their supports (B, S, H, W)."""
        query_BHW = torch.stack([self.mask(view, class_id) for view, class_id in zip(queries, class_ids, strict=True)])
        for cut in cuts:
            rows, columns = cut.window(self.side, self.side)
            # What is taken over may show the asked class as well.
            taken_HW = self.mask(queries[cut.taken_from], class_ids[cut.into])
            query_BHW[cut.into, rows, columns] = taken_HW[rows, columns]
        shots = len(supports) // len(class_ids)
        support_BS = [
            torch.stack([self.mask(view, class_id) for view in supports[row * shots : (row + 1) * shots]])
            for row, class_id in enumerate(class_ids)
        ]
        return query_BHW, torch.stack(support_BS)
