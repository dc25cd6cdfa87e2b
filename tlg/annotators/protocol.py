"""What annotating needs: a model takes an exemplar set and becomes an annotator, which answers batches of pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tlg.answers.records import Answer
from tlg.documents import Document
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture
from tlg.spec import SMALLEST_OBJECT, AnnotateSpec, Tile

# Counts up whenever our code gives other answers from the same model, exemplars and parameters: answers carry it in
# their identity, so the next run makes them anew.
ANSWERING_VERSION = 10
# Below it a class is more likely absent than present: it is answered `absent` whatever `min_score` says, because
# nobody asks the network where it might be. `min_score` comes after that, over the masks of present classes.
PRESENT = 0.5


class AnnotateParams(Document):
    """Everything besides model and exemplars that an answer depends on."""

    min_score: float = 0.5
    max_pixels: int = 50_000_000
    objects: bool = False
    smallest_object: int = SMALLEST_OBJECT
    tile: Tile = "auto"
    # The digest of what the job's own collection holds; None: the model knows by itself what is ordinary.
    background: str | None = None

    @classmethod
    def of(cls, spec: AnnotateSpec, background: str | None = None) -> AnnotateParams:
        """What a job says."""
        run, output = spec.run, spec.output
        return cls(
            min_score=run.min_score,
            max_pixels=run.max_pixels,
            objects=output.objects,
            smallest_object=output.smallest_object,
            tile=run.tile,
            background=background,
        )

    def digest(self) -> str:
        # Where no objects, no tiles and no background are asked for, nothing depends on how they would be made.
        left_out = set() if self.objects else {"objects", "smallest_object"}
        left_out |= {"tile"} if self.tile == "off" else set()
        left_out |= {"background"} if self.background is None else set()
        content = self.model_dump(exclude=left_out)
        content |= {"present": PRESENT, "version": ANSWERING_VERSION}
        text = json.dumps(content, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Annotator(Protocol):
    """A model with an encoded exemplar set; answers batches. Same input, same answer, in any batch."""

    model_digest: str
    exemplars_digest: str
    params: AnnotateParams
    class_names: tuple[str, ...]

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        """One answer per picture and asked class (all classes where `asked` is None), in class order.

        The score of a mask joins how certain the class is present and how decided the mask is; so does that of a class
        whose mask scored below `min_score`, which is answered `absent`. A class that is not present has no mask: its
        score is its presence. Where `params.objects` asks for them, a mask has parts. Raises MemoryError, or its
        library's RuntimeError that says "out of memory", where the batch does not fit.
        """
        ...

    def release_memory(self) -> None:
        """Give back what a failed batch left behind, so that a smaller one may fit."""
        ...

    def healthy(self) -> bool:
        """Whether the annotator can still answer: False after a failure that only a new process mends."""
        ...


class LoadedModel(Protocol):
    """A model in memory, without exemplars. It serves any number of exemplar sets.

    One that also has `input_side`, the longer side in pixels of what it reads, gets large pictures in tiles where
    `run.tile` is `auto` (`tlg/annotators/tiled.py`).
    """

    @property
    def digest(self) -> str: ...

    def with_exemplars(self, exemplars: LoadedExemplars, params: AnnotateParams | None = None) -> Annotator:
        """Encodes the set, once; the annotators of a model share its weights."""
        ...


# Arrays by name, which only the model that made them has to understand.
BackgroundArrays = Mapping[str, np.ndarray]


@runtime_checkable
class FitsBackground(LoadedModel, Protocol):
    """A model that can learn from unlabelled pictures of a collection what is ordinary in it (`run.background`)."""

    def background_of(self, pictures: Iterable[Picture]) -> BackgroundArrays:
        """Whatever is remembered is small; the pictures are taken one by one."""
        ...

    def with_background(self, background: BackgroundArrays) -> LoadedModel:
        """The same model, to which that is ordinary instead of what it knew."""
        ...


class ModelLoader(Protocol):
    """How the models of one family are found by name: what an entry point of the group `tlg.annotators` names.

    The entry point's name is the family. A job that says `model: acme:birds` has the loader of the family `acme` load
    `birds`; `model: acme` has the loader load the empty name.
    """

    def load(self, name: str, device: str | None = None) -> LoadedModel:
        """`device` None takes a GPU where there is one."""
        ...

    def digest_of(self, name: str) -> str:
        """The digest that the loaded model will carry, without loading it."""
        ...
