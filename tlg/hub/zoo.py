"""Models by name, folder or URI."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import torch

from tlg.errors import CheckpointError
from tlg.hub.folder import MODEL_FILE, Model, ModelFile, load_model, model_digest, read_model_file
from tlg.network.backbones.backbone import BackboneName, build_backbone

BUNDLED = Path(__file__).parent / "bundled"

# Backbones that torchvision knows, without a trained network: they answer with the prior alone and say so.
PRIOR_ONLY: dict[str, BackboneName] = {
    "tlg-resnet50": "resnet50",
    "tlg-vgg16": "vgg16",
    "tlg-mobilenet_v2": "mobilenet_v2",
}


def known_models() -> dict[str, str]:
    """Names that `load` takes, each with what it is."""
    bundled = {
        folder.name: "bundled, trained" for folder in sorted(BUNDLED.glob("*")) if (folder / MODEL_FILE).exists()
    }
    downloaded = {
        name: f"torchvision's ImageNet {backbone} (a download); prior only, no trained network"
        for name, backbone in PRIOR_ONLY.items()
    }
    return bundled | downloaded


def load(model: str | Path, device: torch.device | str | None = None) -> Model:
    """A bundled or known name, a model folder, or the URI of one."""
    folder = model_folder(model)
    if folder is not None:
        return load_model(folder, device)
    written = prior_only(str(model))
    prepared = Model(written.name, model_digest(written), build_backbone(written.backbone, written.backbone_weights))
    return prepared if device is None else prepared.to(device)


def digest_of(model: str | Path) -> str:
    """The digest `load` will give, without loading weights."""
    folder = model_folder(model)
    return model_digest(prior_only(str(model)) if folder is None else read_model_file(folder))


def prior_only(name: str) -> ModelFile:
    return ModelFile(name=name, backbone=PRIOR_ONLY[name], backbone_weights="imagenet")


def model_folder(model: str | Path) -> str | None:
    """Where the model's folder is; None for a known name without one; an error for anything else."""
    text = str(model)
    if (BUNDLED / text / MODEL_FILE).exists():
        return str(BUNDLED / text)
    if text in PRIOR_ONLY:
        return None
    if "://" in text or os.path.isdir(text):
        return text
    names = known_models()
    nearest = difflib.get_close_matches(text, names, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    raise CheckpointError(
        f"there is no model {text!r}{hint}: expected one of {', '.join(names)}, a folder with a {MODEL_FILE},"
        f" or the URI of one"
    )
