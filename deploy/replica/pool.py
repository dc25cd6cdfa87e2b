"""Who answers: a pool of annotators per process, and the Serve deployment that batches images in front of it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Meters
from deploy.endpoint.problems import ProblemError, problem_of
from deploy.exemplar_store import ExemplarStore, PackedSet
from deploy.replica.checking import Checked, checked
from tlg import pictures
from tlg.annotators.memory import annotate_within_memory, is_out_of_memory
from tlg.annotators.protocol import AnnotateParams, Annotator, LoadedModel
from tlg.annotators.registry import load_model
from tlg.answers.records import Answer, at_min_score
from tlg.errors import InputError, TlgError
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture
from tlg.spec import Tile

logger = logging.getLogger("tlg.serve")
# Model, digest of the exemplar set, and how large images are looked at.
Key = tuple[str, str, Tile]


class LoadableSet(Protocol):
    """A set that came with a request, or where it can be had."""

    def load(self) -> LoadedExemplars: ...


@dataclass(frozen=True)
class AskedSet:
    """A stored set by its digest, or one that came with the request (and has its digest too)."""

    digest: str
    packed: LoadableSet | None = None


@dataclass(frozen=True)
class Task:
    """One image to annotate."""

    content: bytes
    model: str
    exemplars: AskedSet
    params: AnnotateParams
    classes: tuple[str, ...] | None
    trace: str = ""  # the request's span, as `traces.carried` gives it


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

    async def share(self, packed: PackedSet) -> LoadableSet:
        """The set as tasks carry it: what is heavy goes to each process once, not with each image."""
        ...

    async def check(self, model: str, exemplars: AskedSet) -> Checked:
        """What the model says of each exemplar of a set."""
        ...

    async def ready(self) -> bool: ...


def checked_header(content: bytes, max_pixels: int) -> None:
    """Refuse what is no image, or too many pixels, from the header alone: nothing is decoded."""
    try:
        height, width = pictures.check_header(content, pictures.HARD_MAX_PIXELS)
    except InputError as error:
        if error.kind == "too_large":
            raise ProblemError(413, "image-too-large", str(error)) from None
        raise
    if width * height > max_pixels:
        size = f"{width}x{height} = {width * height:,}"
        raise ProblemError(413, "image-too-large", f"the image has {size} pixels, at most {max_pixels:,} are accepted")


class AnnotatorPool:
    """At most `capacity` of model, exemplar set and tiling: the least recently used makes room before one is loaded.

    A model is loaded once for all its sets, and leaves with the last of them. One thread at a time. Annotators are
    made to answer everything; a task's own `min_score` is applied to its answers.
    """

    def __init__(self, store: ExemplarStore, capacity: int, device: str | None, meters: Meters):
        self._store, self._capacity, self._device, self._meters = store, capacity, device, meters
        self._models: dict[str, LoadedModel] = {}
        self._held: OrderedDict[Key, Annotator] = OrderedDict()
        self.is_suspect = False  # the last batch failed in a way that nobody foresaw

    def answer(self, batch: Sequence[tuple[Task, Picture]]) -> list[Outcome]:
        """One outcome per task; tasks that share model and exemplars go through the network together."""
        self._meters.batch_size.observe(len(batch))
        groups: dict[Key, list[int]] = {}
        for position, (task, _) in enumerate(batch):
            groups.setdefault(_key(task), []).append(position)
        outcomes: dict[int, Outcome] = {}
        for positions in groups.values():
            some = [batch[position] for position in positions]
            outcomes |= dict(zip(positions, self._of_one_set(some), strict=True))
        return [outcomes[position] for position in range(len(batch))]

    def held_model(self, model: str) -> LoadedModel:
        """The model, from memory where it answers anyway."""
        return self._models.get(model) or load_model(model, self._device)

    def check(self, model: str, exemplars: AskedSet) -> Checked:
        """May run beside `answer`, in a thread of its own: it takes no room and changes nothing."""
        return checked(lambda: self.held_model(model), lambda: self._loaded(exemplars))

    def works(self) -> bool:
        """Whether what is held can still answer: a real answer, to a picture that cannot be at fault."""
        try:
            for annotator in self._held.values():
                if not annotator.healthy():
                    return False
            for annotator in list(self._held.values())[-1:]:
                annotator.annotate([Picture(np.full((32, 32, 3), 127, np.uint8), 32, 32)])
        except Exception:
            logger.exception("the annotators cannot answer a plain picture")
            return False
        self.is_suspect = False
        return True

    def _of_one_set(self, some: Sequence[tuple[Task, Picture]]) -> list[Outcome]:
        try:
            annotator = self._annotator(some[0][0])
            results = annotate_within_memory(
                annotator, [picture for _, picture in some], [task.classes for task, _ in some]
            )
        except TlgError as error:
            return [failed(error)] * len(some)
        except Exception:
            logger.exception("%d images could not be answered", len(some))
            self.is_suspect = True
            if len(some) == 1:
                return [failed(ProblemError(500, "internal", "the request failed; its id is in the logs"))]
            # Whoever is at fault, the others are not.
            return [outcome for item in some for outcome in self._of_one_set([item])]
        self.is_suspect = False
        return [self._outcome(task, answers, annotator) for (task, _), answers in zip(some, results, strict=True)]

    def _outcome(self, task: Task, answers: list[Answer] | InputError, annotator: Annotator) -> Outcome:
        if isinstance(answers, InputError):
            return failed(answers)
        reported = [at_min_score(answer, task.params.min_score) for answer in answers]
        for answer in reported:
            self._meters.answers.labels(answer.status).inc()
        return Outcome(reported, annotator.model_digest)

    def _annotator(self, task: Task) -> Annotator:
        key = _key(task)
        if key in self._held:
            self._meters.annotators.labels("yes").inc()
            self._held.move_to_end(key)
            return self._held[key]
        self._meters.annotators.labels("no").inc()
        loaded = self._loaded(task.exemplars)
        self._make_room(self._capacity - 1, task.model)
        try:
            annotator = self._made(task, loaded)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            annotator = None
        if annotator is None:  # outside the handler, whose traceback holds what filled the memory
            self._make_room(0, task.model)
            annotator = self._made(task, loaded)
        self._held[key] = annotator
        return annotator

    def _loaded(self, exemplars: AskedSet) -> LoadedExemplars:
        return exemplars.packed.load() if exemplars.packed else self._store.load(exemplars.digest)

    def _made(self, task: Task, loaded: LoadedExemplars) -> Annotator:
        if task.model not in self._models:
            self._models[task.model] = load_model(task.model, self._device)
        params = AnnotateParams(min_score=0.0, tile=task.params.tile)
        return self._models[task.model].with_exemplars(loaded, params)

    def _make_room(self, keep: int, wanted_model: str) -> None:
        while len(self._held) > keep:
            self._held.popitem(last=False)
        still_used = {model for model, *_ in self._held} | {wanted_model}
        self._models = {name: model for name, model in self._models.items() if name in still_used}


def _key(task: Task) -> Key:
    return task.model, task.exemplars.digest, task.params.tile


def failed(error: TlgError | ProblemError) -> Outcome:
    problem = error if isinstance(error, ProblemError) else problem_of(error)
    cause = error if isinstance(error, InputError) else None
    return Outcome([], error=cause, problem=(problem.status, problem.kind, problem.detail, problem.headers))


class LocalSegmenter:
    """The pool in this process, one image at a time: for tests and for embedding without Ray."""

    def __init__(self, config: ServeConfig, meters: Meters):
        store = ExemplarStore(config.store, config.access)
        self._pool = AnnotatorPool(store, config.replicas.annotators, None, meters)
        self._meters, self._thread = meters, ThreadPoolExecutor(1)

    async def annotate(self, task: Task) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._one, task)

    def _one(self, task: Task) -> Outcome:
        try:
            with self._meters.stages.labels("decode").time():
                picture = pictures.guarded_decode(task.content, task.params.max_pixels)
        except TlgError as error:
            return failed(error)
        return self._pool.answer([(task, picture)])[0]

    async def share(self, packed: PackedSet) -> PackedSet:
        return packed

    async def check(self, model: str, exemplars: AskedSet) -> Checked:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._pool.check, model, exemplars)

    async def ready(self) -> bool:
        return True
