"""Published checkpoints: the state dict of a DataParallel model with the backbone inside it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tlg.errors import CheckpointError
from tlg.network.backbones.backbone import CLASSIFIER_PREFIXES
from tlg.network.backbones.registry import build_backbone
from tlg.network.spec import NetworkSpec
from tlg.network.tlg import TLG

PARALLEL_PREFIX = "module."
BACKBONE_PREFIX = "backbone."
# Layers the published code makes and never calls, so that ours does not have them.
UNUSED_PREFIXES = ("voc_conv_bach.", "coco_conv_batch.")
UNUSED_BY_BACKBONE: dict[str, tuple[str, ...]] = {
    "resnet50": ("conv1024_512.",),
    "vgg16": ("conv_1024_128.", "conv_2048_128."),
}


def from_published(state_dict: Mapping[str, Tensor], backbone: str = "resnet50") -> TLG:
    """The network in `released` behaviour, filled from a published state dict; a foreign one gets a clear error."""
    if backbone not in UNUSED_BY_BACKBONE:
        raise CheckpointError(
            f"published checkpoints have backbone {' or '.join(UNUSED_BY_BACKBONE)}, not {backbone!r}"
        )
    state = {key.removeprefix(PARALLEL_PREFIX): value for key, value in state_dict.items()}
    trunk = {
        key.removeprefix(BACKBONE_PREFIX): value for key, value in state.items() if key.startswith(BACKBONE_PREFIX)
    }
    unused = UNUSED_PREFIXES + UNUSED_BY_BACKBONE[backbone]
    head = {
        key: value for key, value in state.items() if not key.startswith(BACKBONE_PREFIX) and not key.startswith(unused)
    }
    network = TLG(NetworkSpec(backbone=backbone, behaviour="released"), build_backbone(backbone))
    check_fits(head, network.head.state_dict(), backbone)
    if not any(not key.startswith(CLASSIFIER_PREFIXES) for key in trunk):
        raise CheckpointError(
            f"the checkpoint has no backbone: none of its {len(state)} entries starts with"
            f" `{PARALLEL_PREFIX}{BACKBONE_PREFIX}` or `{BACKBONE_PREFIX}`"
        )
    network.backbone.load_weights(trunk, "the checkpoint's backbone")
    network.head.load_state_dict(head)
    return network.eval()


def check_fits(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], backbone: str) -> None:
    """Every entry is there, known, and of the right shape; otherwise an error that names the first few."""
    missing = [key for key in wanted if key not in given]
    unknown = [key for key in given if key not in wanted]
    if missing or unknown:
        raise CheckpointError(
            f"this is not a published checkpoint with backbone {backbone}: {len(missing)} of {len(wanted)} entries are"
            f" missing{listed(missing)}, {len(unknown)} are unknown{listed(unknown)};"
            " give the `best_model.pt` of the published training and the backbone it was trained with"
        )
    for key, value in wanted.items():
        if given[key].shape != value.shape:
            raise CheckpointError(
                f"entry {key} has shape {tuple(given[key].shape)}, backbone {backbone} needs {tuple(value.shape)};"
                " was the checkpoint trained with the other backbone?"
            )


def listed(keys: list[str]) -> str:
    return f" (such as {', '.join(keys[:3])})" if keys else ""
