"""What ordinary pictures are full of: descriptors of unlabelled images, held against every query.

A place that many unrelated pictures also show (grass, sky, road, wall) is background whatever class is asked;
a place that few of them show stands out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.errors import CheckpointError
from tlg.evidence.descriptors import Described, DescriptorSpace, spread_tokens
from tlg.network.features import Features

TOKENS_PER_IMAGE = 24
MAX_IMAGES = 128
# Common means: close to something in at least this share of the images.
COMMON_SHARE = 1 / 6


@dataclass(frozen=True)
class Background:
    """A descriptor space and what M unlabelled images hold in it. Small enough to lie beside a model (about 3 MB)."""

    space: DescriptorSpace
    tokens: Tensor  # (M, T, D)
    pooled: Tensor  # (M, C), the images' pooled deepest maps, for presence

    @staticmethod
    def fit(batches: Sequence[Features]) -> Background:
        """From the features of any photographs, no labels needed; the first MAX_IMAGES are kept."""
        space = DescriptorSpace.fit(batches)
        tokens = torch.cat([background_tokens(space.describe(batch)) for batch in batches])
        pooled = torch.cat([pooled_deepest(batch) for batch in batches])
        return Background(space, tokens[:MAX_IMAGES], pooled[:MAX_IMAGES])

    def tensors(self) -> dict[str, Tensor]:
        """For safetensors; `from_tensors` reads it back."""
        out = {"tokens": self.tokens, "pooled": self.pooled}
        for index, mean_C, projection_CD in zip(
            self.space.chosen, self.space.means, self.space.projections, strict=True
        ):
            out[f"mean.{index}"], out[f"projection.{index}"] = mean_C, projection_CD
        return {key: value.contiguous().cpu() for key, value in out.items()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> Background:
        try:
            chosen = tuple(sorted(int(key.removeprefix("mean.")) for key in tensors if key.startswith("mean.")))
            means = tuple(tensors[f"mean.{index}"] for index in chosen)
            projections = tuple(tensors[f"projection.{index}"] for index in chosen)
            return Background(DescriptorSpace(chosen, means, projections), tensors["tokens"], tensors["pooled"])
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"not a prior background: {error} is missing or wrong among {sorted(tensors)[:8]}; fit it again"
            ) from None


def background_tokens(described: Described) -> Tensor:
    return spread_tokens(described.coarse, TOKENS_PER_IMAGE)


def pooled_deepest(features: Features) -> Tensor:
    """(B, C) unit vectors: the whole picture at the deepest map."""
    return F.normalize(features.maps[-1].float().relu().mean((2, 3)), dim=1)


def commonness(coarse_BDhw: Tensor, tokens_MTD: Tensor) -> Tensor:
    """(B, h, w): mean similarity to those COMMON_SHARE of the images that hold the most similar place."""
    images, per_image, _ = tokens_MTD.shape
    sim_BhwMT = torch.einsum("bdhw,nd->bhwn", coarse_BDhw, tokens_MTD.flatten(0, 1).to(coarse_BDhw))
    nearest_BhwM = sim_BhwMT.unflatten(3, (images, per_image)).amax(4)
    return nearest_BhwM.topk(max(1, round(images * COMMON_SHARE)), dim=3).values.mean(3)
