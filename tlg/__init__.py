"""Weakly supervised segmentation of whole image collections: a handful of image-labelled exemplars in, masks out.

    import tlg

    annotator = tlg.load_model("tlg-photo").with_exemplars("exemplars/")
    for image in annotator.annotate(["1.jpg", "2.jpg"]):
        print(image)

Every public name is listed here and imported when it is first used, so that `import tlg` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlg.answers.records import Answer, decode_mask, encode_mask
    from tlg.api.annotated_image import AnnotatedImage
    from tlg.api.exemplar_set import ExemplarSet
    from tlg.api.job import CommittedAnswers, annotate, read_answers
    from tlg.api.model import Annotator, Model, load_model
    from tlg.client import AsyncClient, Client
    from tlg.errors import (
        CheckpointError,
        ClusterError,
        InputError,
        LeaseHeldError,
        SpecError,
        StorageError,
        TlgError,
        TooManyErrors,
    )
    from tlg.spec import AnnotateSpec, load_annotate_spec

    __version__: str

_HOMES = {
    "tlg.answers.records": ("Answer", "decode_mask", "encode_mask"),
    "tlg.api.annotated_image": ("AnnotatedImage",),
    "tlg.api.exemplar_set": ("ExemplarSet",),
    "tlg.api.job": ("CommittedAnswers", "annotate", "read_answers"),
    "tlg.api.model": ("Annotator", "Model", "load_model"),
    "tlg.client": ("AsyncClient", "Client"),
    "tlg.errors": (
        "CheckpointError",
        "ClusterError",
        "InputError",
        "LeaseHeldError",
        "SpecError",
        "StorageError",
        "TlgError",
        "TooManyErrors",
    ),
    "tlg.spec": ("AnnotateSpec", "load_annotate_spec"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AnnotateSpec",
    "AnnotatedImage",
    "Annotator",
    "Answer",
    "AsyncClient",
    "CheckpointError",
    "Client",
    "ClusterError",
    "CommittedAnswers",
    "ExemplarSet",
    "InputError",
    "LeaseHeldError",
    "Model",
    "SpecError",
    "StorageError",
    "TlgError",
    "TooManyErrors",
    "__version__",
    "annotate",
    "decode_mask",
    "encode_mask",
    "load_annotate_spec",
    "load_model",
    "read_answers",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tlg")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tlg' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
