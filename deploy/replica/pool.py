"""Who answers: a pool of annotators per process, and the Serve deployment that batches images in front of it."""

from __future__ import annotations

import asyncio
import io
import struct
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from PIL import Image

from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Meters
from deploy.endpoint.problems import ProblemError, problem_of
from deploy.exemplar_store import ExemplarStore, PackedSet
from tlg import pictures
from tlg.annotators.protocol import AnnotateParams, Annotator
from tlg.annotators.registry import load_annotator
from tlg.answers.records import Answer
from tlg.errors import InputError, TlgError
from tlg.pictures import Picture

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
HEADER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error)
DECODING_THREADS = 4


@dataclass(frozen=True)
class AskedSet:
    """A stored set by its digest, or one that came with the request (and has its digest too)."""

    digest: str
    packed: PackedSet | None = None


@dataclass(frozen=True)
class Task:
    """One image to annotate."""

    content: bytes
    model: str
    exemplars: AskedSet
    params: AnnotateParams
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class Outcome:
    """Answers, or why there are none. An exception would lose its kind on its way between processes."""

    answers: list[Answer]
    model_digest: str = ""
    error: TlgError | None = None
    problem: tuple[int, str, str, dict[str, str]] | None = None


class Segmenter(Protocol):
    """What the API calls: the Serve deployment, or a pool in this very process."""

    async def annotate(self, task: Task) -> Outcome: ...

    async def ready(self) -> bool: ...


def checked_header(content: bytes, max_pixels: int) -> None:
    """Refuse what is no image, or too many pixels, from the header alone: nothing is decoded."""
    if not content:
        raise InputError("the file is empty (0 bytes); expected an image", kind="empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise _too_many(max_pixels, "far more") from None
    except HEADER_ERRORS:
        raise InputError("not an image; expected JPEG, PNG, WebP, TIFF, BMP, GIF or PPM", "not_an_image") from None
    if width * height > max_pixels:
        raise _too_many(max_pixels, f"{width}x{height} = {width * height:,}")


def _too_many(max_pixels: int, found: str) -> ProblemError:
    return ProblemError(413, "image-too-large", f"the image has {found} pixels, at most {max_pixels:,} are accepted")


class AnnotatorPool:
    """The least recently used pair of model and exemplar set makes room for a new one. One thread at a time.

    Annotators are loaded to answer everything; a task's own `min_score` is applied to its answers.
    """

    def __init__(self, store: ExemplarStore, capacity: int, device: str | None, meters: Meters):
        self._store, self._capacity, self._device, self._meters = store, capacity, device, meters
        self._held: OrderedDict[tuple[str, str], Annotator] = OrderedDict()

    def answer(self, batch: Sequence[tuple[Task, Picture]]) -> list[Outcome]:
        """One outcome per task; tasks that share model and exemplars go through the network together."""
        self._meters.batch_size.observe(len(batch))
        groups: dict[tuple[str, str], list[int]] = {}
        for position, (task, _) in enumerate(batch):
            groups.setdefault(_key(task), []).append(position)
        outcomes: dict[int, Outcome] = {}
        for positions in groups.values():
            tasks = [batch[position][0] for position in positions]
            try:
                annotator = self._annotator(tasks[0])
                answers = annotator.annotate(
                    [batch[position][1] for position in positions], [task.classes for task in tasks]
                )
            except TlgError as error:
                outcomes |= {position: failed(error) for position in positions}
                continue
            for position, of_picture in zip(positions, answers, strict=True):
                kept = [at_min_score(answer, batch[position][0].params.min_score) for answer in of_picture]
                for answer in kept:
                    self._meters.answers.labels(answer.status).inc()
                outcomes[position] = Outcome(kept, annotator.model_digest)
        return [outcomes[position] for position in range(len(batch))]

    def _annotator(self, task: Task) -> Annotator:
        key = _key(task)
        if key in self._held:
            self._meters.annotators.labels("yes").inc()
            self._held.move_to_end(key)
            return self._held[key]
        self._meters.annotators.labels("no").inc()
        packed = task.exemplars.packed
        loaded = packed.load() if packed else self._store.load(task.exemplars.digest)
        annotator = load_annotator(task.model, loaded, AnnotateParams(min_score=0.0), self._device)
        self._held[key] = annotator
        if len(self._held) > self._capacity:
            self._held.popitem(last=False)
        return annotator


def _key(task: Task) -> tuple[str, str]:
    return task.model, task.exemplars.digest


def at_min_score(answer: Answer, min_score: float) -> Answer:
    """What an annotator of this `min_score` answers, from what one of a lower one does."""
    if answer.status != "mask" or answer.score >= min_score:
        return answer
    return replace(answer, status="absent", rle=None, area=0, bbox=[])


def failed(error: TlgError | ProblemError) -> Outcome:
    problem = error if isinstance(error, ProblemError) else problem_of(error)
    kept = error if isinstance(error, InputError) else None
    return Outcome([], error=kept, problem=(problem.status, problem.kind, problem.detail, problem.headers))


class LocalSegmenter:
    """The pool in this process, one image at a time: for tests and for embedding without Ray."""

    def __init__(self, config: ServeConfig, meters: Meters):
        store = ExemplarStore(config.store, config.access)
        self._pool = AnnotatorPool(store, config.replicas.annotators, None, meters)
        self._thread = ThreadPoolExecutor(1)

    async def annotate(self, task: Task) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._one, task)

    def _one(self, task: Task) -> Outcome:
        try:
            picture = pictures.decode(task.content, task.params.max_pixels)
        except TlgError as error:
            return failed(error)
        return self._pool.answer([(task, picture)])[0]

    async def ready(self) -> bool:
        return True
