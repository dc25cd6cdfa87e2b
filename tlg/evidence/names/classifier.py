"""The names that the backbone's own classifier learned: ImageNet's thousand, and the words above them.

A name's class activation is the mean of its strongest classes at a place, less the mean of all classes there.

Shapes: B pictures, N names, R classes of the classifier, h x w the deepest map's grid, H x W the input size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.exemplar import otsu
from tlg.evidence.fusion import bounded
from tlg.evidence.names.words import imagenet_rows
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features

# "dog" has 118 classes, and a picture shows few of them: so many of the strongest speak for the name.
STRONGEST = 3
# Whether a picture shows a name is judged by this share of its places, those that say so most: things can be small.
SPEAKING = 0.1
# How fast the map turns from "not there" to "there" about Otsu's threshold, in the activation's own deviations.
SLOPE = 4.0
IMAGENET_CLASSES = 1000
# Keeps log-odds finite.
LEAST_SHARE = 1e-6


def reads_names(backbone: Backbone) -> bool:
    """Whether the backbone has a classifier whose classes are ImageNet's."""
    return len(backbone.class_names) == IMAGENET_CLASSES


class ClassifierNames:
    """See `tlg.evidence.names.evidence.NameEvidence`; what is seen are the classifier's logits (B, R, h, w)."""

    looks_at_pictures = False

    def __init__(self, backbone: Backbone, names: Sequence[str], size: tuple[int, int]) -> None:
        self._backbone, self._size = backbone, size
        self._rows = [torch.tensor(imagenet_rows(name), dtype=torch.long) for name in names]
        self.known = [len(rows) > 0 for rows in self._rows]
        shares_N = torch.tensor([len(rows) / IMAGENET_CLASSES for rows in self._rows])
        self._chance_N = torch.logit(shares_N, LEAST_SHARE)

    def see(self, images_B3HW: Tensor, features: Features) -> Tensor:
        return self._backbone.class_maps(features)

    def odds(self, seen: Tensor) -> Tensor:
        share_BRL = seen.flatten(2).softmax(1)
        count = max(1, round(SPEAKING * share_BRL.shape[2]))
        strongest = [share_BRL[:, rows.to(seen.device)].sum(1).topk(count).values for rows in self._rows]
        odds_BN = torch.logit(torch.stack(strongest, 1), LEAST_SHARE).mean(2)
        # A name of many classes has a large share of any picture.
        return bounded(odds_BN - self._chance_N.to(seen))

    def map(self, seen_1: Tensor, index: int) -> Tensor:
        rows = self._rows[index].to(seen_1.device)
        own_1hw = seen_1[:, rows].topk(min(STRONGEST, len(rows)), dim=1).values.mean(1)
        activation_1hw = own_1hw - seen_1.mean(1)
        threshold = otsu(activation_1hw.flatten(1))[:, None, None]
        fine_11HW = F.interpolate(activation_1hw[None], size=self._size, mode="bicubic", align_corners=False)
        return torch.sigmoid(SLOPE * (fine_11HW[0, 0] - threshold[0]) / (activation_1hw.std() + 1e-6))
