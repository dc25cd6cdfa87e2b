"""An exemplar set once, then batches of images -> answers. Batch jobs and the endpoint both call this."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

from tlg.annotate.rehearsal import DryRunAnnotator, is_dry_run
from tlg.answers.records import Answer
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture
from tlg.spec import Document


class AnnotateParams(Document):
    """Everything besides model and exemplars that an answer depends on."""

    min_score: float = 0.5
    max_pixels: int = 50_000_000

    def digest(self) -> str:
        text = json.dumps(self.model_dump(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Annotator(Protocol):
    """Holds a model and an encoded exemplar set; answers batches. Same input, same answer, in any batch."""

    model_digest: str
    exemplars_digest: str
    params: AnnotateParams
    class_names: tuple[str, ...]

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        """One answer per picture and asked class (all classes where `asked` is None), in class order."""
        ...


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
