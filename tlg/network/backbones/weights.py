"""Where weights come from: a path, a URI, or torchvision's own download. Nothing inside a file is ever run."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from tlg import store
from tlg.errors import CheckpointError, StorageError

# The weights the published network was trained on.
TORCHVISION_WEIGHTS = {
    "resnet50": "ResNet50_Weights.IMAGENET1K_V1",
    "vgg16": "VGG16_Weights.IMAGENET1K_V1",
    "mobilenet_v2": "MobileNet_V2_Weights.IMAGENET1K_V1",
}


def backbone_state_dict(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict that `weights` stands for: a path, a URI or `imagenet`."""
    if weights == "imagenet":
        return torchvision_state_dict(name)
    return read_state_dict(weights)


def torchvision_state_dict(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights, from its cache or the network."""
    if name not in TORCHVISION_WEIGHTS:
        raise CheckpointError(
            f"there are no ImageNet weights for backbone {name!r}; give a path or URI of a state dict instead"
        )
    from torchvision.models import get_weight

    entry = get_weight(TORCHVISION_WEIGHTS[name])
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"weights {TORCHVISION_WEIGHTS[name]} of backbone {name!r} are not cached at {cached} and could not be"
            f" downloaded ({error}); put the file there, or give its path or URI as the backbone's `weights`"
        ) from error


def read_bytes(location: str | Path) -> bytes:
    """The bytes of a local file or of an object in any store."""
    try:
        return store.read(str(location))
    except StorageError as error:
        raise CheckpointError(f"the weights cannot be read: {error}") from error


def read_state_dict(location: str | Path) -> dict[str, Tensor]:
    """A state dict from a safetensors or a torch file, the latter with `weights_only`."""
    data = read_bytes(location)
    if str(location).endswith(".safetensors"):
        try:
            return load_safetensors(data)
        except SafetensorError as error:
            raise CheckpointError(f"{location} is not a safetensors file, or it is damaged ({error})") from error
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{location} is not a torch file of plain tensors, or it is damaged"
            f" ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{location} holds {type(content).__name__}, expected a state dict of tensors")
    return content
