"""Our model as a stage of somebody else's Ray Data pipeline: batches of images in, answer rows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tlg import pictures
from tlg.annotators.memory import annotate_within_memory
from tlg.annotators.protocol import AnnotateParams, Annotator
from tlg.annotators.registry import load_annotator
from tlg.answers import records
from tlg.answers.records import ImageAnswers, Provenance
from tlg.errors import InputError, SpecError
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture

RUN_ID = "own-pipeline"
NAMES = ("path", "uri")


class ImageSegmenter:
    """A class for `Dataset.map_batches`: each worker of its pool loads the model and encodes the exemplars once.

    A batch has `image` (pixels, as `ray.data.read_images` gives them) or `bytes` (as `read_binary_files` does), and
    `path` or `uri` where the answers are to say whose they are. Out come rows of the answer schema.
    """

    def __init__(self, model: str, exemplars: LoadedExemplars, params: AnnotateParams, device: str | None = None):
        self.annotator: Annotator = load_annotator(model, exemplars, params, device)
        self.provenance = Provenance(
            self.annotator.model_digest, self.annotator.exemplars_digest, params.digest(), RUN_ID
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        read = [self._read(content) for content in _contents(batch)]
        shown = [picture for picture in read if isinstance(picture, Picture)]
        answers = iter(annotate_within_memory(self.annotator, shown) if shown else [])
        outcomes = [next(answers) if isinstance(picture, Picture) else picture for picture in read]
        images = [_answers_of(name, outcome) for name, outcome in zip(_names(batch, len(read)), outcomes, strict=True)]
        return records.to_table(images, self.provenance)

    def _read(self, content: bytes | np.ndarray) -> Picture | InputError:
        if isinstance(content, np.ndarray):
            return Picture(np.ascontiguousarray(content), content.shape[0], content.shape[1])
        try:
            return pictures.guarded_decode(content, self.annotator.params.max_pixels)
        except InputError as error:
            return error


def _contents(batch: dict[str, np.ndarray]) -> Sequence[Any]:
    if "image" in batch:
        return list(batch["image"])
    if "bytes" in batch:
        return list(batch["bytes"])
    raise SpecError(
        f"the batch has columns {', '.join(batch)}; expected `image` (ray.data.read_images(..., mode='RGB')) or `bytes`"
        " (ray.data.read_binary_files)"
    )


def _names(batch: dict[str, np.ndarray], count: int) -> list[str]:
    for column in NAMES:
        if column in batch:
            return [str(name) for name in batch[column]]
    return [""] * count


def _answers_of(name: str, outcome: list[records.Answer] | InputError) -> ImageAnswers:
    if isinstance(outcome, InputError):
        return ImageAnswers(name, None, (), outcome.kind, str(outcome))
    return ImageAnswers(name, None, outcome)
