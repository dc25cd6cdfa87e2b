"""A backbone's name -> the backbone, with random weights. Other packages add backbones by an entry point.

An entry point of the group `tlg.backbones` names a class or function that gives a `Backbone`. A plain name is called
without arguments; of `family/variant` the entry `family` is called with the variant. Both are given `taps=` where the
caller chooses the maps.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points

from tlg.errors import CheckpointError
from tlg.network.backbones.backbone import Backbone

ENTRY_POINTS = "tlg.backbones"
# Our own, imported when asked for: timm takes seconds.
OWN = {
    "resnet50": "tlg.network.backbones.resnet50:ResNet50",
    "vgg16": "tlg.network.backbones.vgg16:VGG16",
    "mobilenet_v2": "tlg.network.backbones.mobilenet_v2:MobileNetV2",
    "tiny": "tlg.network.backbones.tiny:Tiny",
    "timm": "tlg.network.backbones.timm_trunk:TimmBackbone",
}


def known_backbones() -> list[str]:
    """Names and families that `build_backbone` takes."""
    return [*OWN, *sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)} - OWN.keys())]


def build_backbone(name: str, taps: Sequence[Sequence[str]] | None = None) -> Backbone:
    """A frozen backbone with random weights: a known name, or `timm/<model>`.

    `taps` names the modules whose outputs make the pyramid, level by level; None leaves the choice to the backbone.
    """
    family, separator, variant = name.partition("/")
    factory = factory_of(name) if not separator else factory_of(family)
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


def factory_of(name: str) -> Callable[..., Backbone]:
    if name in OWN:
        module, _, attribute = OWN[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return entry.load()
    known = known_backbones()
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    raise CheckpointError(
        f"unknown backbone {name!r}; known are {', '.join(known)}{hint}; timm is followed by a model: timm/resnet18"
    )
