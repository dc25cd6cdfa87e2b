"""State dicts out of files. Nothing inside a file is ever run."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from tlg.errors import CheckpointError
from tlg.hub.sources.source import WeightFile
from tlg.hub.sources.stores import StoreSource


def read_state_dict(location: str | Path) -> dict[str, Tensor]:
    """The state dict at a path or URI."""
    return state_dict_in(StoreSource().read(str(location)), str(location))


def state_dict_in(file: WeightFile, source: str) -> dict[str, Tensor]:
    """The state dict in a safetensors file, or in a torch file of plain tensors; `source` is named in errors."""
    if file.name.endswith(".safetensors"):
        try:
            return load_safetensors(file.content)
        except SafetensorError as error:
            raise CheckpointError(f"{source} is not a safetensors file, or it is damaged ({error})") from error
    try:
        content = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{source} is not a torch file of plain tensors, or it is damaged"
            f" ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{source} holds {type(content).__name__}, expected a state dict of tensors")
    return content
