"""What the routes do, free of HTTP: requests in, rows out."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from deploy.endpoint import bodies, formats, traces
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Meters
from deploy.endpoint.problems import ProblemError, problem_of
from deploy.endpoint.schema import AnnotateRequest, BatchRequest, Content, InlineSet
from deploy.exemplar_store import DIGEST, ExemplarStore, PackedSet
from deploy.guard import fetch
from deploy.guard.fetch import Fetcher
from deploy.guard.limits import MemoryBudget
from deploy.replica.checking import ExemplarCheck
from deploy.replica.pool import AskedSet, Outcome, Segmenter, Task, checked_header
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import model_digest
from tlg.answers import records
from tlg.answers.wire import StoredSet
from tlg.errors import InputError, StorageError, TlgError

# A name may be given new content on another replica; this long the old content may still answer.
NAME_SECONDS = 2.0
IMAGES_AT_ONCE = 16
STORE_THREADS = 16
# However many probes come, models and store are asked this often.
PROBE_SECONDS = 1.0
PROBE_PATIENCE_SECONDS = 5.0
P = ParamSpec("P")
R = TypeVar("R")


class Service:
    """Annotation and exemplar sets behind the API and the connectors."""

    def __init__(
        self, config: ServeConfig, segmenter: Segmenter, meters: Meters, budget: MemoryBudget, is_private: bool
    ):
        """`is_private`: only this machine is served, so that answers may name places on it."""
        self.config, self.segmenter, self.meters, self.budget = config, segmenter, meters, budget
        self.store = ExemplarStore(config.store, config.access, config.keep_days, tells_place=is_private)
        # A store that stalls holds these threads and no others.
        self._store_threads = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="store")
        self._probe = Probe(segmenter, self.store)
        max_bytes = int(config.limits.body_mb * 1_000_000)
        self.fetcher = Fetcher(tuple(config.uri_prefixes), max_bytes, config.access, fetch.SECONDS)
        self._known: dict[str, tuple[float, StoredSet]] = {}

    async def annotate(
        self, request: AnnotateRequest | BatchRequest, run_id: str
    ) -> tuple[list[formats.Row], list[str]]:
        """Rows, image after image, and the names of the set's classes.

        In a batch a failed image is a row with status `error`; a single failed image is the request's problem.
        """
        model = self._known_model(request.model)
        params = AnnotateParams(min_score=request.min_score, tile=request.tile)
        params_digest = params.digest()
        single = isinstance(request, AnnotateRequest)
        pictures = [request.image] if isinstance(request, AnnotateRequest) else request.images
        gate, trace = asyncio.Semaphore(IMAGES_AT_ONCE), traces.carried()
        with self.budget.share() as take:
            exemplars, class_names = await self._asked_set(request.exemplars, take)
            classes = self._known_classes(request.classes, class_names)

            def origin(answering: str) -> records.Provenance:
                return records.Provenance(answering, exemplars.digest, params_digest, run_id)

            async def rows_of(picture: Content, number: int) -> list[formats.Row]:
                uri = picture.uri or picture.name or picture.stored or f"image-{number}"
                async with gate:
                    try:
                        content = await self._checked_content(picture, take)
                        outcome = await self.segmenter.annotate(Task(content, model, exemplars, params, classes, trace))
                        _raise_failure(outcome)
                    except (InputError, ProblemError, TlgError) as error:
                        problem = error if isinstance(error, ProblemError) else problem_of(error)
                        self.meters.errors.labels(problem.kind).inc()
                        if single or problem.status in (429, 500, 503, 504):
                            raise
                        kind = error.kind if isinstance(error, InputError) else problem.kind
                        would_answer = await asyncio.to_thread(model_digest, model)
                        return [records.error_row(uri, None, kind, problem.detail, origin(would_answer))]
                # The digest of the model that answered: the one under this name may be another by now.
                return [records.to_row(answer, uri, None, origin(outcome.model_digest)) for answer in outcome.answers]

            rows_by_picture = await all_or_none(rows_of(picture, i) for i, picture in enumerate(pictures, start=1))
        return formats.as_read_back([row for rows in rows_by_picture for row in rows]), class_names

    async def check_ready(self) -> None:
        """A 503 problem unless models and store answer."""
        await self._probe.check()

    async def put_set(self, name: str, inline: InlineSet, expected: str | None = None) -> tuple[StoredSet, bool]:
        with self.budget.share() as take:
            packed = await self.pack(inline, take)
            answer = await self.stored(self.store.put, name, packed, expected)
        self._known.pop(name, None)
        return answer

    async def keep_set(self, inline: InlineSet) -> StoredSet:
        with self.budget.share() as take:
            return await self.stored(self.store.keep, await self.pack(inline, take))

    async def check_set(self, reference: str, model: str | None) -> tuple[str, list[ExemplarCheck]]:
        """The model that looked, and what it says of each exemplar in the order of the set."""
        model_name = self._known_model(model)
        digest = (await self.get_set(reference)).digest
        checked = await self.segmenter.check(model_name, AskedSet(digest))
        if checked.problem is not None:
            raise ProblemError(*checked.problem)
        return model_name, checked.exemplars

    async def stored(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A call of the store's, in a thread that may wait for it."""
        work = functools.partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._store_threads, work)

    async def get_set(self, reference: str) -> StoredSet:
        return await self.stored(self.store.get, reference)

    async def list_sets(self) -> list[StoredSet]:
        return await self.stored(self.store.list)

    async def delete_set(self, name: str, expected: str | None = None) -> None:
        await self.stored(self.store.delete, name, expected)
        self._known.pop(name, None)

    async def pack(self, inline: InlineSet, take: Callable[[int], None]) -> PackedSet:
        """The set with all its bytes at hand and every image's header checked."""
        count = sum(len(of_class.exemplars) for of_class in inline.classes) + len(inline.negatives)
        if count > self.config.limits.exemplars_per_set:
            raise ProblemError(
                413, "too-many-exemplars", f"found {count} exemplars, at most {self.config.limits.exemplars_per_set}"
            )
        document, contents = inline.laid_out()
        gate = asyncio.Semaphore(IMAGES_AT_ONCE)

        async def checked(path: str, content: Content) -> bytes:
            async with gate:
                try:
                    return await self._checked_content(content, take)
                except InputError as error:
                    where = f"{path} ({content.name or content.uri or 'bytes'})"
                    raise InputError(f"{where}: {error}", error.kind) from None

        checked_contents = await all_or_none(checked(path, content) for path, content in contents.items())
        return PackedSet(document, dict(zip(contents, checked_contents, strict=True)))

    async def _asked_set(self, reference: str | InlineSet, take: Callable[[int], None]) -> tuple[AskedSet, list[str]]:
        if isinstance(reference, InlineSet):
            packed = await self.pack(reference, take)
            loaded = await asyncio.to_thread(packed.load)
            shared = await self.segmenter.share(packed)
            return AskedSet(loaded.digest, shared), [of_class.name for of_class in reference.classes]
        seen, known = self._known.get(reference, (0.0, None))
        if known is None or (time.monotonic() - seen > NAME_SECONDS and not DIGEST.fullmatch(reference)):
            known = await self.stored(self.store.get, reference)
            if len(self._known) > 1000:
                self._known.clear()
            self._known[reference] = (time.monotonic(), known)
        return AskedSet(known.digest), [of_class.name for of_class in known.classes]

    async def _checked_content(self, picture: Content, take: Callable[[int], None]) -> bytes:
        if picture.uri is not None:
            with self.meters.stages.labels("fetch").time(), traces.span("fetch"):
                content = await self.fetcher.read(picture.uri)
            take(len(content))
        elif picture.stored is not None:
            digest, _, path = picture.stored.partition("/")
            content = await self.stored(self.store.file, digest, path)
            take(len(content))
        elif picture.raw is not None:
            content = picture.raw
        else:
            content = await asyncio.to_thread(bodies.decode_base64, picture.data or "")
        await asyncio.to_thread(checked_header, content, self.config.limits.image_pixels)
        return content

    def _known_model(self, name: str | None) -> str:
        if name is None or name in self.config.known_models:
            return name or self.config.model
        raise ProblemError(422, "unknown-model", f"this endpoint serves {', '.join(self.config.known_models)}")

    @staticmethod
    def _known_classes(wanted: Sequence[str] | None, known: list[str]) -> tuple[str, ...] | None:
        if wanted is None:
            return None
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise ProblemError(422, "unknown-class", f"the set has the classes {', '.join(known)}; not {unknown[0]}")
        return tuple(wanted)


async def all_or_none(work: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """Every result in order; when one fails, the others are not worked for any more."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


class Probe:
    """Whether models and store answer, asked once in a while however many ask."""

    def __init__(self, segmenter: Segmenter, store: ExemplarStore):
        self._segmenter, self._store = segmenter, store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self._asking: asyncio.Task[str | None] | None = None
        self._known: tuple[float, str | None] = (float("-inf"), None)

    async def check(self) -> None:
        asked_at, problem = self._known
        if time.monotonic() - asked_at > PROBE_SECONDS:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            # One impatient prober must not take the answer from the others.
            problem = await asyncio.shield(self._asking)
        if problem is not None:
            raise ProblemError(503, "not-ready", problem, {"Retry-After": "2"})

    async def _ask(self) -> str | None:
        problem = await self._found()
        self._known = (time.monotonic(), problem)
        return problem

    async def _found(self) -> str | None:
        if not await self._segmenter.ready():
            return "no model replica answers yet"
        try:
            asking = asyncio.get_running_loop().run_in_executor(self._thread, self._store.is_reachable)
            await asyncio.wait_for(asking, PROBE_PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            return "the exemplar store does not answer"
        except StorageError as error:
            return f"the exemplar store: {problem_of(error).detail}"
        return None


def _raise_failure(outcome: Outcome) -> None:
    if outcome.error is not None:
        raise outcome.error
    if outcome.problem is not None:
        raise ProblemError(*outcome.problem)
