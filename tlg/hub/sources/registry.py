"""A weights' address -> the source that has the file.

| address | where the file is |
|---|---|
| a path, or the URI of a store | there |
| `package:<distribution>` | in an installed package |
| `hf://org/repo[@revision]/file` | on a Hugging Face hub, or in its local cache |
| `timm` | where timm publishes the backbone's weights, on the same hub |
| `imagenet` | torchvision's own, in torch's cache or at their publisher |
"""

from __future__ import annotations

from tlg.errors import CheckpointError
from tlg.hub.sources.hugging_face import PREFIX as HUGGING_FACE
from tlg.hub.sources.hugging_face import HuggingFaceSource
from tlg.hub.sources.package import PackageSource
from tlg.hub.sources.source import Source
from tlg.hub.sources.stores import StoreSource
from tlg.hub.sources.torchvision import TorchvisionSource
from tlg.network.backbones.quick_imports import compiler_on_demand

PACKAGE = "package:"


def source_of(weights: str, backbone: str) -> tuple[Source, str]:
    """The source of `weights`, and the address by which it knows them."""
    if weights == "imagenet":
        return TorchvisionSource(), backbone
    if weights == "timm":
        return HuggingFaceSource(), timm_address(backbone)
    if weights.startswith(PACKAGE):
        return PackageSource(), weights.removeprefix(PACKAGE)
    if weights.startswith(HUGGING_FACE):
        return HuggingFaceSource(), weights
    return StoreSource(), weights


def timm_address(backbone: str) -> str:
    """Where timm publishes the weights of `timm/<model>`."""
    with compiler_on_demand():
        import timm

    family, _, model = backbone.partition("/")
    config = timm.get_pretrained_cfg(model) if family == "timm" and timm.is_model(model) else None
    if config is None or not config.hf_hub_id:
        raise CheckpointError(
            f"timm publishes no weights for backbone {backbone!r} on a hub; give a path, a URI or hf://org/repo/file"
        )
    return f"{HUGGING_FACE}{config.hf_hub_id}/{config.hf_hub_filename or 'model.safetensors'}"
