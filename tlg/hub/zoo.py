"""Models by name, folder or URI. What needs no weights needs no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tlg.errors import CheckpointError
from tlg.hub.model_file import MODEL_FILE, ModelFile, checked, digest_of_content, read_content
from tlg.registry import Registry, unknown

if TYPE_CHECKING:
    import torch

    from tlg.hub.folder import Model

BUNDLED = Path(__file__).parent / "bundled"
# An entry point names a `pathlib.Path`, or a function that gives one: a model folder of another package.
BROUGHT: Registry[Path | Callable[[], Path]] = Registry("model", "tlg.models", {}, CheckpointError)


def known_models() -> dict[str, Path]:
    """Names that `load` takes, each with its folder: bundled, or brought by another package."""
    bundled = {folder.name: folder for folder in sorted(BUNDLED.glob("*")) if (folder / MODEL_FILE).exists()}
    return {name: _brought(name) for name in BROUGHT.names()} | bundled


def _brought(name: str) -> Path:
    place = BROUGHT.load(name)
    return Path(place() if callable(place) else place)


def described_models() -> dict[str, ModelFile]:
    """What the `model.json` of every known model says."""
    return {
        name: checked(json.loads((folder / MODEL_FILE).read_text()), str(folder))
        for name, folder in known_models().items()
    }


def load(model: str | Path, device: torch.device | str | None = None) -> Model:
    """A known name, a model folder, or the URI of one."""
    from tlg.hub.folder import load_model

    return load_model(model_folder(model), device)


def digest_of(model: str | Path) -> str:
    """The digest `load` will give, without loading weights."""
    return digest_of_content(read_content(model_folder(model)))


def model_folder(model: str | Path) -> str:
    """Where the model's folder is."""
    text = str(model)
    if (BUNDLED / text / MODEL_FILE).exists():
        return str(BUNDLED / text)
    if "://" in text or os.path.isdir(text):
        return text
    known = known_models()
    if text in known:
        return str(known[text])
    raise CheckpointError(f"{unknown('model', text, known)}, a folder with a {MODEL_FILE}, or the URI of one")
