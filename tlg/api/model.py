"""A model in memory, and an annotator made of it and an exemplar set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from tlg.annotators import registry
from tlg.annotators.memory import annotate_within_memory
from tlg.annotators.protocol import AnnotateParams, LoadedModel
from tlg.annotators.protocol import Annotator as PictureAnnotator
from tlg.api.annotated_image import AnnotatedImage
from tlg.api.exemplar_set import ExemplarSet
from tlg.api.images import AnyImage, read_picture
from tlg.errors import InputError, SpecError, StorageError, TlgError
from tlg.pictures import Picture
from tlg.spec import DEFAULT_MODEL, Tile


class Model:
    """A loaded model; it serves any number of exemplar sets."""

    def __init__(self, name: str, loaded: LoadedModel):
        self.name = name
        self._loaded = loaded

    @property
    def digest(self) -> str:
        """What answers depend on: weights and settings, not the name."""
        return self._loaded.digest

    def with_exemplars(
        self, exemplars: ExemplarSet | str | Path, min_score: float = 0.5, tile: Tile = "auto"
    ) -> Annotator:
        """An annotator of this set; masks that score below `min_score` are reported as absent.

        `tile` says how large images with small things are looked at, like `run.tile` of a job.
        """
        exemplar_set = ExemplarSet.read(exemplars)
        params = AnnotateParams(min_score=min_score, tile=tile)
        return Annotator(self, exemplar_set, self._loaded.with_exemplars(exemplar_set.loaded, params))

    def __repr__(self) -> str:
        return f"Model {self.name}"


class Annotator:
    """A model with an exemplar set: images in, answers out. The same answers as a job's and the endpoint's."""

    def __init__(self, model: Model, exemplars: ExemplarSet, annotator: PictureAnnotator):
        self.model, self.exemplars = model, exemplars
        self._annotator = annotator

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._annotator.class_names

    def annotate(
        self, images: Iterable[AnyImage], classes: Sequence[str] | None = None, batch_size: int = 8
    ) -> list[AnnotatedImage]:
        """One AnnotatedImage for each image, in order; an image that cannot be read has its `error` instead.

        `images` are paths, URIs, bytes, Pillow images or uint8 arrays. `classes` None asks for all of the set's.
        """
        if isinstance(images, (str, bytes, Path)):
            raise TypeError("found one image, expected a list of images; write annotate([image])")
        unknown = sorted(set(classes or ()) - set(self.class_names))
        if unknown:
            raise SpecError(f"class '{unknown[0]}' is not in the exemplar set; it has {', '.join(self.class_names)}")
        waiting = iter(images)
        annotated: list[AnnotatedImage] = []
        while batch := list(islice(waiting, batch_size)):
            annotated += self._annotate_batch(batch, classes)
        return annotated

    def _annotate_batch(self, images: Sequence[AnyImage], classes: Sequence[str] | None) -> Iterator[AnnotatedImage]:
        read = [self._read(image) for image in images]
        pictures = [picture for picture in read if isinstance(picture, Picture)]
        answers = iter(annotate_within_memory(self._annotator, pictures, [classes] * len(pictures)) if pictures else [])
        for image, picture in zip(images, read, strict=True):
            outcome = next(answers) if isinstance(picture, Picture) else picture
            if isinstance(outcome, TlgError):
                yield AnnotatedImage(image, error=outcome)
            else:
                yield AnnotatedImage(image, tuple(outcome))

    def _read(self, image: AnyImage) -> Picture | TlgError:
        try:
            return read_picture(image, self._annotator.params.max_pixels)
        except (InputError, StorageError) as error:
            return error

    def __repr__(self) -> str:
        return f"Annotator of {self.model.name} and {self.exemplars!r}"


def load_model(name: str = DEFAULT_MODEL, device: str | None = None) -> Model:
    """A model by name, folder or URI; `device` None takes a GPU where there is one."""
    return Model(name, registry.load_model(name, device))
