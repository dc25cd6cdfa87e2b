"""Ask an endpoint for masks from Python: `Client` waits for each answer, `AsyncClient` is the same with `await`.

with Client("http://127.0.0.1:8000") as client:
    client.put_exemplar_set("foxes", {"red fox": ["fox1.jpg", "fox2.jpg"]})
    for row in client.annotate("query.jpg", "foxes").rows:
        if row.status == "mask":
            mask = records.decode_mask(row.rle.model_dump())
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from tlg.answers.wire import Answers, Coco, Health, JobState, StoredSet, StoredSets
from tlg.errors import ClusterError, InputError
from tlg.spec import AnnotateSpec, Tile

KEY_VARIABLE = "TLG_API_KEY"
PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
# The endpoint is busy, a replica died under the request, or something in between restarts.
WORTH_RETRYING = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_PAUSE = 30.0
Image = str | os.PathLike | bytes
M = TypeVar("M", bound=BaseModel)


class EndpointError(ClusterError):
    """The endpoint refused or failed; `status` and `kind` are those of its problem (status 0: not reached)."""

    def __init__(self, message: str, status: int = 0, kind: str = "unreachable"):
        super().__init__(message)
        self.status, self.kind = status, kind


class _Call(BaseModel):
    """A request, so that the two clients share what is sent and how it is read."""

    model_config = {"arbitrary_types_allowed": True}
    method: str
    path: str
    arguments: dict[str, Any] = {}


class _Calls:
    """What each request looks like; the clients only differ in how they wait."""

    READY = _Call(method="GET", path="/readyz")
    LIST = _Call(method="GET", path="/v1/exemplar-sets")

    @staticmethod
    def put_exemplar_set(name: str, classes: Mapping[str, Sequence[Image]], negatives: Sequence[Image]) -> _Call:
        files, labels = [], []
        for label, pictures in classes.items():
            for picture in pictures:
                files.append(("exemplar", _part(picture)))
                labels.append(label)
        files += [("negative", _part(picture)) for picture in negatives]
        arguments = {"files": files, "data": {"label": labels}}
        return _Call(method="PUT", path=_set_path(name), arguments=arguments)

    @staticmethod
    def exemplar_set(name_or_digest: str) -> _Call:
        return _Call(method="GET", path=_set_path(name_or_digest))

    @staticmethod
    def delete_exemplar_set(name: str) -> _Call:
        return _Call(method="DELETE", path=_set_path(name))

    @staticmethod
    def annotate(
        path: str, pictures: Sequence[Image], exemplars: str, classes: Sequence[str] | None, more: dict[str, Any]
    ) -> _Call:
        fields = {"exemplars": exemplars} | {key: str(value) for key, value in more.items() if value is not None}
        data: dict[str, Any] = fields | ({"classes": list(classes)} if classes is not None else {})
        files = [("image", _part(picture)) for picture in pictures]
        return _Call(method="POST", path=path, arguments={"files": files, "data": data})

    @staticmethod
    def submit(spec: AnnotateSpec) -> _Call:
        content = spec.model_dump(mode="json", exclude_defaults=True)
        return _Call(method="POST", path="/v1/jobs", arguments={"json": content})

    @staticmethod
    def job(job_id: str) -> _Call:
        return _Call(method="GET", path=f"/v1/jobs/{quote(job_id, safe='')}")


def _set_path(name: str) -> str:
    return f"/v1/exemplar-sets/{quote(name, safe='')}"


class Client:
    """Blocking calls. Busy answers and lost connections are tried again; asking twice gives the same answer."""

    def __init__(
        self, url: str, key: str | None = None, timeout: float = 120, transport: httpx.BaseTransport | None = None
    ):
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def ready(self) -> Health:
        return self._typed(_Calls.READY, Health)

    def put_exemplar_set(
        self, name: str, classes: Mapping[str, Sequence[Image]], negatives: Sequence[Image] = ()
    ) -> StoredSet:
        return self._typed(_Calls.put_exemplar_set(name, classes, negatives), StoredSet)

    def exemplar_set(self, name_or_digest: str) -> StoredSet:
        return self._typed(_Calls.exemplar_set(name_or_digest), StoredSet)

    def exemplar_sets(self) -> list[StoredSet]:
        return self._typed(_Calls.LIST, StoredSets).exemplar_sets

    def delete_exemplar_set(self, name: str) -> None:
        self._send(_Calls.delete_exemplar_set(name))

    def annotate(
        self,
        image: Image,
        exemplars: str,
        classes: Sequence[str] | None = None,
        min_score: float | None = None,
        polygons: bool = False,
        model: str | None = None,
        tile: Tile | None = None,
    ) -> Answers:
        """Rows for one image: a path or its bytes."""
        more = {"min_score": min_score, "model": model, "tile": tile, "format": "polygon" if polygons else "rle"}
        return self._typed(_Calls.annotate("/v1/annotate", [image], exemplars, classes, more), Answers)

    def annotate_batch(
        self,
        images: Sequence[Image],
        exemplars: str,
        classes: Sequence[str] | None = None,
        min_score: float | None = None,
        model: str | None = None,
        tile: Tile | None = None,
    ) -> Answers:
        """Rows for up to 64 images, in their order; one that cannot be read is a row with status `error`."""
        more = {"min_score": min_score, "model": model, "tile": tile}
        return self._typed(_Calls.annotate("/v1/annotate/batch", images, exemplars, classes, more), Answers)

    def annotate_coco(self, images: Sequence[Image], exemplars: str, min_score: float | None = None) -> Coco:
        more = {"min_score": min_score, "format": "coco"}
        return self._typed(_Calls.annotate("/v1/annotate/batch", images, exemplars, None, more), Coco)

    def submit(self, spec: AnnotateSpec) -> JobState:
        return self._typed(_Calls.submit(spec), JobState)

    def job(self, job_id: str) -> JobState:
        return self._typed(_Calls.job(job_id), JobState)

    def _typed(self, call: _Call, kind: type[M]) -> M:
        return _read(self._send(call), kind)

    def _send(self, call: _Call) -> httpx.Response:
        attempts = _attempts()
        pause = next(attempts)
        while pause is not None:
            time.sleep(pause)
            try:
                answer: httpx.Response | httpx.TransportError = self._http.request(
                    call.method, call.path, **call.arguments
                )
            except httpx.TransportError as error:
                answer = error
            pause = attempts.send(answer)
        return _accepted(answer, call)


class AsyncClient:
    """`Client` for event loops."""

    def __init__(
        self, url: str, key: str | None = None, timeout: float = 120, transport: httpx.AsyncBaseTransport | None = None
    ):
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout, transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def ready(self) -> Health:
        return await self._typed(_Calls.READY, Health)

    async def put_exemplar_set(
        self, name: str, classes: Mapping[str, Sequence[Image]], negatives: Sequence[Image] = ()
    ) -> StoredSet:
        call = await asyncio.to_thread(_Calls.put_exemplar_set, name, classes, negatives)
        return await self._typed(call, StoredSet)

    async def exemplar_set(self, name_or_digest: str) -> StoredSet:
        return await self._typed(_Calls.exemplar_set(name_or_digest), StoredSet)

    async def exemplar_sets(self) -> list[StoredSet]:
        return (await self._typed(_Calls.LIST, StoredSets)).exemplar_sets

    async def delete_exemplar_set(self, name: str) -> None:
        await self._send(_Calls.delete_exemplar_set(name))

    async def annotate(
        self,
        image: Image,
        exemplars: str,
        classes: Sequence[str] | None = None,
        min_score: float | None = None,
        polygons: bool = False,
        model: str | None = None,
        tile: Tile | None = None,
    ) -> Answers:
        more = {"min_score": min_score, "model": model, "tile": tile, "format": "polygon" if polygons else "rle"}
        call = await asyncio.to_thread(_Calls.annotate, "/v1/annotate", [image], exemplars, classes, more)
        return await self._typed(call, Answers)

    async def annotate_batch(
        self,
        images: Sequence[Image],
        exemplars: str,
        classes: Sequence[str] | None = None,
        min_score: float | None = None,
        model: str | None = None,
        tile: Tile | None = None,
    ) -> Answers:
        more = {"min_score": min_score, "model": model, "tile": tile}
        call = await asyncio.to_thread(_Calls.annotate, "/v1/annotate/batch", images, exemplars, classes, more)
        return await self._typed(call, Answers)

    async def annotate_coco(self, images: Sequence[Image], exemplars: str, min_score: float | None = None) -> Coco:
        more = {"min_score": min_score, "format": "coco"}
        call = await asyncio.to_thread(_Calls.annotate, "/v1/annotate/batch", images, exemplars, None, more)
        return await self._typed(call, Coco)

    async def submit(self, spec: AnnotateSpec) -> JobState:
        return await self._typed(_Calls.submit(spec), JobState)

    async def job(self, job_id: str) -> JobState:
        return await self._typed(_Calls.job(job_id), JobState)

    async def _typed(self, call: _Call, kind: type[M]) -> M:
        return _read(await self._send(call), kind)

    async def _send(self, call: _Call) -> httpx.Response:
        attempts = _attempts()
        pause = next(attempts)
        while pause is not None:
            await asyncio.sleep(pause)
            try:
                answer: httpx.Response | httpx.TransportError = await self._http.request(
                    call.method, call.path, **call.arguments
                )
            except httpx.TransportError as error:
                answer = error
            pause = attempts.send(answer)
        return _accepted(answer, call)


def _attempts() -> Generator[float | None, httpx.Response | httpx.TransportError, None]:
    """Yields the pause before each attempt and is sent what came of it; None says to stop."""
    answer = yield 0.0
    for pause in PAUSES:
        if isinstance(answer, httpx.Response):
            if answer.status_code not in WORTH_RETRYING:
                break
            seconds = answer.headers.get("retry-after", "")
            pause = max(pause, min(float(seconds), LONGEST_PAUSE)) if seconds.isdigit() else pause
        # Many clients that were refused together must not come back together.
        answer = yield pause * (0.5 + random.random())
    yield None


def _accepted(answer: httpx.Response | httpx.TransportError, call: _Call) -> httpx.Response:
    if isinstance(answer, httpx.TransportError):
        raise EndpointError(f"{call.method} {call.path}: the endpoint cannot be reached: {answer}")
    if answer.is_success:
        return answer
    try:
        problem = answer.json()
        detail, kind = problem["detail"], problem["type"].removeprefix("urn:tlg:problem:")
    except (ValueError, KeyError, TypeError, AttributeError):
        detail, kind = f"the endpoint answered {answer.status_code}", "unknown"
    raise EndpointError(f"{call.method} {call.path}: {detail}", answer.status_code, kind)


def _read(answer: httpx.Response, kind: type[M]) -> M:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise EndpointError(f"{answer.url}: this is no answer of a tlg endpoint: {error.errors()[0]['msg']}") from None


def _headers(key: str | None) -> dict[str, str]:
    key = key or os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _part(image: Image) -> tuple[str, bytes]:
    if isinstance(image, bytes):
        return "image", image
    try:
        return Path(image).name, Path(image).read_bytes()
    except OSError as error:
        raise InputError(f"{image}: {error.strerror}; expected an image file or its bytes", "missing") from None
