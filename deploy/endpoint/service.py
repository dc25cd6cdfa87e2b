"""What the routes do, free of HTTP: requests in, rows out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from deploy.endpoint import bodies, formats
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Meters
from deploy.endpoint.problems import ProblemError, problem_of
from deploy.endpoint.schema import AnnotateRequest, BatchRequest, Content, InlineSet
from deploy.exemplar_store import DIGEST, ExemplarStore, PackedSet
from deploy.guard.fetch import Fetcher
from deploy.replica.pool import AskedSet, Outcome, Segmenter, Task, checked_header
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import model_digest
from tlg.answers import records
from tlg.answers.wire import StoredSet
from tlg.errors import InputError, TlgError

# A name may be given new content on another replica; this long the old content may still answer.
NAME_SECONDS = 2.0
IMAGES_AT_ONCE = 16


class Service:
    """Annotation and exemplar sets behind the API and the connectors."""

    def __init__(self, config: ServeConfig, segmenter: Segmenter, meters: Meters):
        self.config, self.segmenter, self.meters = config, segmenter, meters
        self.store = ExemplarStore(config.store, config.access)
        max_bytes = int(config.limits.body_mb * 1_000_000)
        self.fetcher = Fetcher(tuple(config.uri_prefixes), max_bytes, config.access)
        self._known: dict[str, tuple[float, StoredSet]] = {}

    async def annotate(self, asked: AnnotateRequest | BatchRequest, run_id: str) -> tuple[list[formats.Row], list[str]]:
        """Rows, image after image, and the names of the set's classes.

        In a batch a failed image is a row with status `error`; a single failed image is the request's problem.
        """
        model = self._known_model(asked.model)
        exemplars, class_names = await self._asked_set(asked.exemplars)
        classes = self._known_classes(asked.classes, class_names)
        params = AnnotateParams(min_score=asked.min_score)
        params_digest = params.digest()
        single = isinstance(asked, AnnotateRequest)
        pictures = [asked.image] if isinstance(asked, AnnotateRequest) else asked.images
        gate = asyncio.Semaphore(IMAGES_AT_ONCE)

        def origin(answering: str) -> records.Provenance:
            return records.Provenance(answering, exemplars.digest, params_digest, run_id)

        async def rows_of(picture: Content, number: int) -> list[formats.Row]:
            uri = picture.uri or picture.name or f"image-{number}"
            async with gate:
                try:
                    content = await asyncio.to_thread(self._checked_content, picture)
                    outcome = await self._answered(Task(content, model, exemplars, params, classes))
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

        found = await asyncio.gather(*(rows_of(picture, i) for i, picture in enumerate(pictures, start=1)))
        return formats.as_read_back([row for rows in found for row in rows]), class_names

    async def put_set(self, name: str, inline: InlineSet) -> tuple[StoredSet, bool]:
        packed = await asyncio.to_thread(self.pack, inline)
        answer = await asyncio.to_thread(self.store.put, name, packed)
        self._known.pop(name, None)
        return answer

    async def get_set(self, reference: str) -> StoredSet:
        return await asyncio.to_thread(self.store.get, reference)

    async def list_sets(self) -> list[StoredSet]:
        return await asyncio.to_thread(self.store.list)

    async def delete_set(self, name: str) -> None:
        await asyncio.to_thread(self.store.delete, name)
        self._known.pop(name, None)

    def pack(self, inline: InlineSet) -> PackedSet:
        """The set with all its bytes at hand and every image's header checked."""
        refs = [ref for one in inline.classes for ref in one.exemplars]
        count = len(refs) + len(inline.negatives)
        if count > self.config.limits.exemplars_per_set:
            raise ProblemError(
                413, "too-many-exemplars", f"found {count} exemplars, at most {self.config.limits.exemplars_per_set}"
            )
        files: dict[str, bytes] = {}

        def kept(content: Content, path: str) -> str:
            try:
                files[path] = self._checked_content(content)
            except InputError as error:
                raise InputError(f"{path} ({content.name or content.uri or 'bytes'}): {error}", error.kind) from None
            return path

        document: dict[str, Any] = {"name": "inline", "classes": []}
        for number, one in enumerate(inline.classes, start=1):
            exemplars = []
            for position, ref in enumerate(one.exemplars, start=1):
                place = f"images/class-{number}/exemplar-{position}"
                kept_ref = {"image": kept(ref.image, place)}
                if ref.mask:
                    kept_ref["mask"] = kept(ref.mask, f"{place}-mask")
                exemplars.append(kept_ref)
            described = {"name": one.name, "attributes": one.attributes, "context": one.context}
            document["classes"].append(described | {"exemplars": exemplars})
        document["negatives"] = [
            kept(content, f"images/negatives/exemplar-{position}")
            for position, content in enumerate(inline.negatives, start=1)
        ]
        return PackedSet(document, files)

    async def _asked_set(self, reference: str | InlineSet) -> tuple[AskedSet, list[str]]:
        if isinstance(reference, InlineSet):
            packed = await asyncio.to_thread(self.pack, reference)
            loaded = await asyncio.to_thread(packed.load)
            return AskedSet(loaded.digest, packed), [one.name for one in reference.classes]
        seen, known = self._known.get(reference, (0.0, None))
        if known is None or (time.monotonic() - seen > NAME_SECONDS and not DIGEST.fullmatch(reference)):
            known = await asyncio.to_thread(self.store.get, reference)
            if len(self._known) > 1000:
                self._known.clear()
            self._known[reference] = (time.monotonic(), known)
        return AskedSet(known.digest), [one.name for one in known.classes]

    async def _answered(self, task: Task) -> Outcome:
        try:
            return await asyncio.wait_for(self.segmenter.annotate(task), self.config.limits.timeout_seconds)
        except asyncio.TimeoutError:
            raise ProblemError(
                504, "timeout", f"no answer within {self.config.limits.timeout_seconds:g} s", {"Retry-After": "5"}
            ) from None

    def _checked_content(self, picture: Content) -> bytes:
        content = self._content(picture)
        checked_header(content, self.config.limits.image_pixels)
        return content

    def _content(self, picture: Content) -> bytes:
        if picture.raw is not None:
            return picture.raw
        if picture.data is not None:
            return bodies.decode_base64(picture.data)
        return self.fetcher.read(picture.uri or "")

    def _known_model(self, asked: str | None) -> str:
        if asked is None or asked in self.config.known_models:
            return asked or self.config.model
        raise ProblemError(422, "unknown-model", f"this endpoint serves {', '.join(self.config.known_models)}")

    @staticmethod
    def _known_classes(asked: Sequence[str] | None, known: list[str]) -> tuple[str, ...] | None:
        if asked is None:
            return None
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise ProblemError(422, "unknown-class", f"the set has the classes {', '.join(known)}; not {unknown[0]}")
        return tuple(asked)


def _raise_failure(outcome: Outcome) -> None:
    if outcome.error is not None:
        raise outcome.error
    if outcome.problem is not None:
        raise ProblemError(*outcome.problem)
