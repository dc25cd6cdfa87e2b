"""A model's name -> an annotator that holds an exemplar set. Batch jobs and the endpoint both call this."""

from __future__ import annotations

from tlg.annotate.protocol import AnnotateParams, Annotator
from tlg.annotate.rehearsal import DryRunAnnotator, is_dry_run
from tlg.exemplars import LoadedExemplars


def load_annotator(
    model: str,
    exemplars: LoadedExemplars,
    params: AnnotateParams | None = None,
    device: str | None = None,
    prior_only: bool = False,
) -> Annotator:
    """The annotator for a model name, folder or URI. Exemplars are encoded here, once.

    `device` None takes a GPU where there is one. `prior_only` leaves the network out, to see what it adds.
    """
    params = params or AnnotateParams()
    if is_dry_run(model):
        return DryRunAnnotator(model, exemplars, params)
    # The network's libraries take seconds to import; a dry run and the ledger do without them.
    import torch

    from tlg.annotate.network import NetworkAnnotator
    from tlg.hub import zoo

    loaded = zoo.load(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return NetworkAnnotator(loaded, exemplars, params, prior_only)


def model_digest(model: str) -> str:
    """The digest that a loaded `model` will carry, without loading it."""
    if is_dry_run(model):
        return DryRunAnnotator.digest_of(model)
    from tlg.hub import zoo

    return zoo.digest_of(model)
