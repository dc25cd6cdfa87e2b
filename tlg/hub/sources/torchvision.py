"""`torchvision:<model>`: torchvision's ImageNet weights, from torch's cache or their publisher."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError

from tlg.errors import CheckpointError
from tlg.hub.sources.source import WeightFile

# The weights that the published network was trained on, and the files they come as.
WEIGHTS = {
    "resnet50": ("ResNet50_Weights.IMAGENET1K_V1", "resnet50-0676ba61.pth"),
    "vgg16": ("VGG16_Weights.IMAGENET1K_V1", "vgg16-397923af.pth"),
    "mobilenet_v2": ("MobileNet_V2_Weights.IMAGENET1K_V1", "mobilenet_v2-b0353104.pth"),
}
ADDRESS = "https://download.pytorch.org/models"


class TorchvisionSource:
    def here(self, address: str) -> bool:
        return cached(entry(address)[1]).is_file()

    def read(self, address: str) -> WeightFile:
        name, file_name = entry(address)
        file = cached(file_name)
        if not file.is_file():
            download(name, file, address)
        return WeightFile(file_name, file.read_bytes())

    def licence(self, address: str) -> str | None:
        return "BSD-3-Clause"


def entry(model: str) -> tuple[str, str]:
    if model not in WEIGHTS:
        raise CheckpointError(
            f"there are no ImageNet weights for backbone {model!r}, only for {', '.join(WEIGHTS)}; give a path or"
            " URI of a state dict instead"
        )
    return WEIGHTS[model]


def cached(file_name: str) -> Path:
    """Where torch keeps such a file."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints" / file_name


def download(name: str, file: Path, model: str) -> None:
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    # torch writes aside first, and compares the digest that is part of the file's name.
    digest = file.stem.rsplit("-", 1)[-1]
    try:
        torch.hub.download_url_to_file(f"{ADDRESS}/{file.name}", str(file), hash_prefix=digest, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"weights {name} of backbone {model!r} are not cached at {file} and could not be downloaded ({error});"
            " put the file there, or give its path or URI as the backbone's `weights`"
        ) from error
