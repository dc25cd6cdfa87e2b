"""Trains the head by the product's own training, and makes the model folder that ships.

    python -m tlg.recipes.photo configs/models/tlg-photo.yaml

A run that was stopped goes on where it was. The folder holds the head and the card; the backbone's weights stay in
their own package, and a probe in `model.json` proves them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tlg.errors import CheckpointError, SpecError
from tlg.hub.folder import load_model, save_model
from tlg.hub.model_file import Card, ModelFile
from tlg.training.trainer import load_spec, train

NAME = "tlg-photo"
CARD_PAGE = Path("docs/models/tlg-photo.md")
CARD = Card(
    good_for="photographs of things: one to ten exemplars a class, no drawing",
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
)
# More does not belong into the package.
LARGEST_FOLDER = 10_000_000


def make(config: str) -> Path:
    """The finished model folder, beside the training's own."""
    spec = load_spec(config)
    if spec.backbone_weights is None:
        raise SpecError(f"{config}: `backbone_weights` is missing, and the folder that ships names it")
    train(config)
    folder = spec.out.parent / NAME
    export(spec.out / "last", folder, spec.backbone_weights)
    return folder


def export(trained: Path, folder: Path, backbone_weights: str) -> ModelFile:
    """The trained model without its backbone, with its card."""
    model = load_model(trained)
    written = save_model(
        folder,
        NAME,
        model.backbone,
        model.network,
        text=model.text,
        prior=model.prior,
        input_size=model.input_size,
        background=model.background,
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


if __name__ == "__main__":
    print(make(sys.argv[1]))
