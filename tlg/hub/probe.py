"""Proof that weights are the ones a head was trained on: what the backbone makes of one drawn picture.

A digest proves that a file is the same; the same weights also come as other files (safetensors or torch, another
port's names). The features of a fixed picture are the same for all of them, and for no other weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tlg.errors import CheckpointError
from tlg.network.backbones.backbone import Backbone

SIDE = 128
VALUES_OF_A_MAP = 4
TOLERANCE = 1e-3


@torch.inference_mode()
def probe(backbone: Backbone) -> tuple[float, ...]:
    """A few numbers a map: fixed mixtures of its channels' means, relative to the map's own magnitude."""
    device = next(backbone.parameters()).device
    features = backbone.encode(drawn_picture().to(device))
    numbers: list[float] = []
    for map_1Chw in features.maps:
        map_Chw = map_1Chw[0].double().cpu()
        magnitude = map_Chw.square().mean().sqrt().clamp_min(1e-12)
        mixtures_VC = mixtures(len(map_Chw))
        numbers += (mixtures_VC @ map_Chw.mean(dim=(1, 2)) / magnitude).tolist()
    return tuple(round(number, 6) for number in numbers)


def check_probe(backbone: Backbone, expected: Sequence[float], weights: str) -> None:
    probed = probe(backbone)
    difference = max((abs(a - b) for a, b in zip(probed, expected, strict=False)), default=math.inf)
    if len(probed) != len(expected) or not difference <= TOLERANCE:
        raise CheckpointError(
            f"weights {weights!r} of backbone {backbone.name!r} are not the weights that this model was made with:"
            f" features of the probe picture differ by {difference:.2g}, at most {TOLERANCE:g} is allowed; fetch the"
            " weights anew, or give the file that the model's card names"
        )


def drawn_picture() -> Tensor:
    """(1, 3, SIDE, SIDE): waves of several lengths and a disc, within the range of normalised pictures."""
    steps = torch.arange(SIDE, dtype=torch.float64) / SIDE
    y, x = steps[:, None], steps[None, :]
    waves = [torch.sin(2 * math.pi * (of_y * y + of_x * x)) for of_y, of_x in ((1, 2), (5, -3), (9, 14))]
    disc = ((y - 0.4) ** 2 + (x - 0.6) ** 2 < 0.05).double()
    return (
        torch.stack(waves) * 1.2 + disc * torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)[:, None, None]
    ).float()[None]


def mixtures(channels: int) -> Tensor:
    """(VALUES_OF_A_MAP, channels) fixed weights, unlike for any two channels."""
    places = torch.arange(1, channels + 1, dtype=torch.float64)
    rows = torch.arange(1, VALUES_OF_A_MAP + 1, dtype=torch.float64)
    return torch.cos(rows[:, None] * places[None, :] ** 1.5) / channels**0.5
