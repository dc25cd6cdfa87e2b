"""A model's name -> a loaded model, whoever made it. Batch jobs and the endpoint both call this.

A name is `family:name`, where the family is one of ours or an entry point of the group `tlg.annotators`. Any other
name, folder or URI is a model of the network's.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from tlg.annotators.protocol import AnnotateParams, Annotator, LoadedModel, ModelLoader
from tlg.annotators.tiled import TiledModel
from tlg.errors import CheckpointError
from tlg.exemplars import LoadedExemplars

GROUP = "tlg.annotators"
NETWORK = "network"
# Named, not imported: the network's libraries take seconds, and a dry run does without them.
OURS = {
    "dry-run": EntryPoint("dry-run", "tlg.annotators.rehearsal:RehearsalLoader", GROUP),
    NETWORK: EntryPoint(NETWORK, "tlg.annotators.network_loader:NetworkLoader", GROUP),
}


def load_model(model: str, device: str | None = None) -> LoadedModel:
    """The model of a name, folder or URI. `device` None takes a GPU where there is one."""
    loader, name = _loader(model)
    return TiledModel(loader.load(name, device))


def load_annotator(
    model: str, exemplars: LoadedExemplars, params: AnnotateParams | None = None, device: str | None = None
) -> Annotator:
    """The annotator of one exemplar set, its model loaded for this set alone."""
    return load_model(model, device).with_exemplars(exemplars, params)


def model_digest(model: str) -> str:
    """The digest that a loaded `model` will carry, without loading it."""
    loader, name = _loader(model)
    return loader.digest_of(name)


def families() -> dict[str, EntryPoint]:
    """Ours and those of installed packages, by name; a name of ours is never taken by another package."""
    return {entry.name: entry for entry in entry_points(group=GROUP)} | OURS


def _loader(model: str) -> tuple[ModelLoader, str]:
    family, _, name = model.partition(":")
    # A URI's scheme is no family, and a path may hold a colon.
    if family not in families() or name.startswith("//"):
        family, name = NETWORK, model
    return _made(families()[family]), name


@cache
def _made(entry: EntryPoint) -> ModelLoader:
    try:
        return entry.load()()
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"models named {entry.name}:... come from {entry.value}, which cannot be loaded ({error});"
            " install its package anew"
        ) from error
