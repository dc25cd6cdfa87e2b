"""Which source says what names mean. Other packages add sources by an entry point.

An entry point of the group `tlg.names` names a class or function that takes an `Asked` and gives a `NameEvidence`, or
None where it cannot help. A model folder chooses a source by `names` in its `model.json`, so that what answers depend
on is part of their model's digest, whatever else is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlg.errors import CheckpointError
from tlg.evidence.names.classifier import ClassifierNames, reads_names
from tlg.evidence.names.evidence import NameEvidence
from tlg.evidence.names.taught import TaughtKinds, TaughtNames
from tlg.evidence.names.tiny_clip import TinyClipNames
from tlg.evidence.tiny_clip import TinyClip
from tlg.network.backbones.backbone import Backbone
from tlg.network.text import TextVectors
from tlg.registry import Registry

if TYPE_CHECKING:
    from tlg.evidence.open_clip.image_prior import TextSide


@dataclass(frozen=True)
class Asked:
    """The names of an exemplar set, and what the model has to tell them by.

    `text` are the names as the model's own CLIP writes them, where it carries a CLIP; `kinds` were taught with masks,
    and speak before any source; `open_clip` is another CLIP that the model folder brings. Maps are made of `size`.
    """

    names: Sequence[str]
    backbone: Backbone
    size: tuple[int, int]
    clip: TinyClip | None = None
    text: TextVectors | None = None
    kinds: TaughtKinds | None = None
    open_clip: TextSide | None = None


Source = Callable[[Asked], NameEvidence | None]
# The model's own CLIP, and one that its folder brings.
OWN_CLIP = "clip"
OPEN_CLIP = "open_clip"


def own_clip(asked: Asked) -> NameEvidence | None:
    if asked.clip is None or asked.text is None:
        return None
    return TinyClipNames(asked.clip, asked.names, asked.text, asked.size)


def own_classifier(asked: Asked) -> NameEvidence | None:
    return ClassifierNames(asked.backbone, asked.names, asked.size) if reads_names(asked.backbone) else None


def brought_clip(asked: Asked) -> NameEvidence | None:
    if asked.open_clip is None:
        return None
    from tlg.evidence.names.open_clip import OpenClipNames

    return OpenClipNames(asked.open_clip, asked.names, asked.size)


# Where a model folder leaves the choice, the first that can help is taken.
OWN: dict[str, Source] = {OWN_CLIP: own_clip, "classifier": own_classifier, OPEN_CLIP: brought_clip}
SOURCES: Registry[Source] = Registry(
    "source of names",
    "tlg.names",
    OWN,
    CheckpointError,
    "install the package that brings it, or name another in the model folder's `names`",
)


def name_evidence(chosen: str | None, asked: Asked) -> NameEvidence | None:
    """Who says what names mean: the chosen source, else the model's own CLIP, else its classifier, else nobody."""
    sources = OWN.values() if chosen is None else [SOURCES.load(chosen)]
    offers = (source(asked) for source in sources)
    evidence = next((evidence for evidence in offers if evidence is not None), None)
    return evidence if asked.kinds is None else TaughtNames(asked.kinds, asked.names, asked.size, evidence)
