"""A model's name -> a loaded model, whoever made it. Batch jobs and the endpoint both call this.

A name is `family:name`, where the family is one of ours or an entry point of the group `tlg.annotators`. Any other
name, folder or URI is a model of the network's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from tlg.annotators.protocol import AnnotateParams, Annotator, BackgroundArrays, ModelLoader
from tlg.annotators.tiled import TiledModel
from tlg.errors import CheckpointError
from tlg.exemplars import LoadedExemplars
from tlg.registry import Registry

NETWORK = "network"
# Named, not imported: the network's libraries take seconds, and a dry run does without them.
FAMILIES: Registry[Callable[[], ModelLoader]] = Registry(
    "family of models",
    "tlg.annotators",
    {
        "dry-run": "tlg.annotators.rehearsal:RehearsalLoader",
        NETWORK: "tlg.annotators.network_loader:NetworkLoader",
    },
    CheckpointError,
)


def load_model(model: str, device: str | None = None) -> TiledModel:
    """The model of a name, folder or URI. `device` None takes a GPU where there is one."""
    loader, name = _loader(model)
    return TiledModel(loader.load(name, device))


def load_annotator(
    model: str,
    exemplars: LoadedExemplars,
    params: AnnotateParams | None = None,
    device: str | None = None,
    background: BackgroundArrays | None = None,
) -> Annotator:
    """The annotator of one exemplar set, its model loaded for this set alone.

    `params` say the digest of a `background` that takes the place of the model's own.
    """
    return annotator_of(load_model(model, device), exemplars, params, background)


def annotator_of(
    model: TiledModel,
    exemplars: LoadedExemplars,
    params: AnnotateParams | None = None,
    background: BackgroundArrays | None = None,
) -> Annotator:
    """As `load_annotator`, of a model that is loaded."""
    return (model if background is None else model.with_background(background)).with_exemplars(exemplars, params)


def model_digest(model: str) -> str:
    """The digest that a loaded `model` will carry, without loading it."""
    loader, name = _loader(model)
    return loader.digest_of(name)


def _loader(model: str) -> tuple[ModelLoader, str]:
    family, _, name = model.partition(":")
    # A URI's scheme is no family, and a path may hold a colon.
    if name.startswith("//") or family not in FAMILIES:
        family, name = NETWORK, model
    return _made(FAMILIES.load(family)), name


@cache
def _made(loader: Callable[[], ModelLoader]) -> ModelLoader:
    return loader()
