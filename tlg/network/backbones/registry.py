"""A backbone's name -> the backbone, with random weights. Other packages add backbones by an entry point.

An entry point of the group `tlg.backbones` names a class or function that gives a `Backbone`. A plain name is called
without arguments; of `family/variant` the entry `family` is called with the variant. Both are given `taps=` where the
caller chooses the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tlg.errors import CheckpointError
from tlg.network.backbones.backbone import Backbone
from tlg.registry import Registry

# Ours are imported when asked for: timm takes seconds.
BACKBONES: Registry[Callable[..., Backbone]] = Registry(
    "backbone",
    "tlg.backbones",
    {
        "resnet50": "tlg.network.backbones.resnet50:ResNet50",
        "vgg16": "tlg.network.backbones.vgg16:VGG16",
        "mobilenet_v2": "tlg.network.backbones.mobilenet_v2:MobileNetV2",
        "tiny": "tlg.network.backbones.tiny:Tiny",
        "timm": "tlg.network.backbones.timm_trunk:TimmBackbone",
    },
    CheckpointError,
    "timm is followed by a model: timm/resnet18",
)


def build_backbone(name: str, taps: Sequence[Sequence[str]] | None = None) -> Backbone:
    """A frozen backbone with random weights: a known name, or `timm/<model>`.

    `taps` names the modules whose outputs make the pyramid, level by level; None leaves the choice to the backbone.
    """
    family, separator, variant = name.partition("/")
    factory = BACKBONES.load(family if separator else name)
    arguments = [variant] if separator else []
    choices = {} if taps is None else {"taps": taps}
    try:
        backbone = factory(*arguments, **choices)
    except TypeError as error:
        if separator or taps is not None:
            what = f"variant {variant!r}" if separator else "taps of one's own"
            raise CheckpointError(f"backbone {name!r} takes no {what} ({error})") from error
        raise
    return backbone.freeze()
