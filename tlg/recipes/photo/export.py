"""The model folder that ships: head, background and card; the backbone's weights stay in their own package."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tlg.errors import CheckpointError
from tlg.evidence.background import Background
from tlg.evidence.names.taught import TaughtKinds
from tlg.hub.folder import save_model
from tlg.hub.model_file import Card, ModelFile
from tlg.network.backbones.backbone import Backbone
from tlg.network.tlg import TLG
from tlg.pictures.network_input import to_network_input
from tlg.recipes.photo.bank import PICTURES_AT_ONCE
from tlg.recipes.photo.photographs import Photograph, pixels

NAME = "tlg-photo"
CARD_PAGE = Path("docs/models/tlg-photo.md")
CARD = Card(
    good_for="photographs of things, stuff and surfaces: one to ten exemplars a class, best with masks",
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
)
# More does not belong into the package.
LARGEST_FOLDER = 10_000_000
BACKGROUND_PHOTOGRAPHS = 120


def export(
    net: TLG, folder: Path, background: Background, kinds: TaughtKinds | None, side: int, backbone_weights: str
) -> ModelFile:
    written = save_model(
        folder,
        NAME,
        net.backbone,
        net,
        input_size=(side, side),
        background=background,
        kinds=kinds,
        card=CARD,
        backbone_weights=backbone_weights,
    )
    shutil.copyfile(CARD_PAGE, folder / "CARD.md")
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > LARGEST_FOLDER:
        raise CheckpointError(
            f"{folder} has {size:,} bytes, at most {LARGEST_FOLDER:,} are shipped; narrow the network"
        )
    return written


@torch.inference_mode()
def fitted_background(backbone: Backbone, photographs: Sequence[Photograph], side: int) -> Background:
    """Of photographs evenly spread over the given ones, without their labels."""
    chosen = photographs[:: max(1, len(photographs) // BACKGROUND_PHOTOGRAPHS)]
    batches = [chosen[start : start + PICTURES_AT_ONCE] for start in range(0, len(chosen), PICTURES_AT_ONCE)]
    backbone = backbone.to(memory_format=torch.channels_last)
    inputs = (
        torch.stack([to_network_input(np.ascontiguousarray(pixels(photograph)), side) for photograph in batch])
        for batch in batches
    )
    return Background.fit(
        [backbone.encode(images_B3HW.contiguous(memory_format=torch.channels_last)) for images_B3HW in inputs]
    )
