"""A Label Studio ML backend: connect `http://HOST:PORT/ls` in a project's model settings.

Exemplars are the set that the connection's extra parameters name (`{"exemplars": "foxes"}`), else the project's own
labelled tasks as webhooks report them, else the configured default.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from deploy.connectors import label_studio_sets as sets
from deploy.connectors.label_studio_lessons import Lesson
from deploy.connectors.label_studio_regions import labels_of
from deploy.connectors.label_studio_tokens import Tokens
from deploy.connectors.labeling_config import Control, find_control
from deploy.endpoint.config import LabelStudioSpec, ServeConfig
from deploy.endpoint.problems import ProblemError
from deploy.endpoint.schema import AnnotateRequest, Content
from deploy.endpoint.service import Service
from deploy.exemplar_store import NAME
from deploy.guard.fetch import Fetcher
from deploy.replica.pool import checked_header
from tlg.annotators.protocol import AnnotateParams
from tlg.errors import StorageError, TlgError

TASKS_AT_ONCE = 8
TEACHING = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
logger = logging.getLogger("tlg.serve")


class Setup(BaseModel):
    """`hostname` and `access_token` come too, and are not believed: the configuration says where Label Studio is."""

    project: str | int = ""
    extra_params: Any = None


class Predict(BaseModel):
    tasks: list[dict[str, Any]]
    project: str | int | None = None
    label_config: str | None = None


class Webhook(BaseModel):
    action: str = ""
    annotation: dict[str, Any] = {}
    task: dict[str, Any] = {}
    project: dict[str, Any] = {}


def router(config: ServeConfig, service: Service) -> APIRouter:
    backend = Backend(config, service)
    routes = APIRouter(prefix="/ls", tags=["Label Studio"])
    routes.add_api_route("/", backend.health, methods=["GET"], include_in_schema=False)
    routes.add_api_route("/health", backend.health, methods=["GET"])
    routes.add_api_route("/setup", backend.setup, methods=["POST"])
    routes.add_api_route("/predict", backend.predict, methods=["POST"])
    routes.add_api_route("/webhook", backend.webhook, methods=["POST"], status_code=201)
    return routes


class Backend:
    def __init__(self, config: ServeConfig, service: Service):
        self._service, self._config = service, config
        self._spec: LabelStudioSpec | None = config.label_studio
        url = config.label_studio.url.rstrip("/") if config.label_studio else ""
        self._url = url
        self._own = Fetcher((f"{url}/",) if url else (), service.fetcher.max_bytes)
        self._tokens = Tokens(url)
        self._teaching = asyncio.Lock()

    def health(self) -> dict[str, str]:
        return {"status": "UP", "model_class": f"tlg {self._config.model}"}

    async def setup(self, asked: Setup) -> dict[str, str]:
        """Remembers which set the project asked for. No weights are loaded here: Label Studio waits 3 s."""
        project, named = sets.project_key(asked.project), _named_set(asked.extra_params)
        if project and named:
            await self._service.stored(sets.remember, self._service.store, project, named)
        return {"model_version": await self._version(project)}

    async def predict(self, asked: Predict, request: Request) -> dict[str, list[dict[str, Any]]]:
        """As many results as tasks; a task that cannot be answered has an empty result."""
        project = sets.project_key(asked.project)
        exemplars, version = await self._exemplars(project), await self._version(project)
        control = find_control(asked.label_config or "")
        gate = asyncio.Semaphore(TASKS_AT_ONCE)

        async def result(task: dict[str, Any]) -> dict[str, Any]:
            async with gate:
                regions = await self._regions(task, exemplars, control, request.scope["tlg.request_id"])
            scores = [region["score"] for region in regions]
            return {"result": regions, "score": min(scores, default=0.0), "model_version": version}

        return {"results": list(await asyncio.gather(*(result(task) for task in asked.tasks)))}

    async def webhook(self, event: Webhook) -> dict[str, str]:
        """A labelled task becomes an exemplar of its project's own set."""
        project = sets.project_key(event.project.get("id"))
        if project and event.action in TEACHING:
            await self._teach(project, [event.task | {"annotations": [event.annotation]}], event.project)
        elif project and event.action == "START_TRAINING" and self._spec:
            await self._teach(project, await self._exported(project), event.project)
        return {"status": "ok"}

    async def _exported(self, project: str) -> list[dict[str, Any]]:
        content = await self._read_own(f"{self._url}/api/projects/{project}/export?exportType=JSON")
        try:
            tasks = json.loads(content)
        except (ValueError, RecursionError):
            tasks = None
        if not isinstance(tasks, list):
            raise ProblemError(502, "label-studio", "Label Studio's export is not a list of tasks")
        return [task for task in tasks if isinstance(task, dict)]

    async def _teach(self, project: str, tasks: list[dict[str, Any]], described: dict[str, Any]) -> None:
        control = find_control(str(described.get("label_config") or ""))
        taught = []
        for task in tasks:
            labelled = await asyncio.to_thread(labels_of, task)
            if not labelled:
                continue
            try:
                content = await self._picture(task, control)
                await asyncio.to_thread(checked_header, content, self._config.limits.image_pixels)
                taught.append(Lesson(str(task.get("id", "")), content, labelled))
            except (ProblemError, TlgError) as error:
                logger.warning("Label Studio task %s is no exemplar: %s", task.get("id"), error)
        if taught:
            limit = self._config.limits.exemplars_per_set
            async with self._teaching:  # other processes may teach meanwhile, and nothing is lost; this is cheaper
                await self._service.stored(sets.teach, self._service.store, project, taught, limit)

    async def _regions(
        self, task: dict[str, Any], exemplars: str | None, control: Control | None, run_id: str
    ) -> list[dict[str, Any]]:
        if exemplars is None or control is None:
            return []
        try:
            content = Content.of_bytes(await self._picture(task, control), f"task-{task.get('id')}")
            wanted = AnnotateRequest(image=content, exemplars=exemplars, min_score=AnnotateParams().min_score)
            rows, _ = await self._service.annotate(wanted, run_id)
        except (ProblemError, TlgError) as error:
            logger.warning("Label Studio task %s is not annotated: %s", task.get("id"), error)
            return []
        return await asyncio.to_thread(control.regions, rows)

    async def _picture(self, task: dict[str, Any], control: Control | None) -> bytes:
        found = task.get("data")
        data: dict[str, Any] = found if isinstance(found, dict) else {}
        uri = str(data.get(control.data_key) if control else next(iter(data.values()), ""))
        if uri.startswith("/data/") or (self._url and uri.startswith(f"{self._url}/data/")):
            return await self._read_own(uri if "://" in uri else f"{self._url}{uri}")
        return await self._service.fetcher.read(uri)

    async def _read_own(self, uri: str) -> bytes:
        """What Label Studio itself keeps. An access token that has run out is exchanged for another, once."""
        self._own.allowed(uri)  # before anything is asked for a token
        headers = await self._tokens.headers()
        try:
            return await self._own.read(uri, headers)
        except StorageError as error:
            renewed = await self._tokens.headers(refused=headers) if error.denied else headers
            if renewed == headers:
                raise
            return await self._own.read(uri, renewed)

    async def _exemplars(self, project: str | None) -> str | None:
        named = await self._service.stored(sets.chosen, self._service.store, project) if project else None
        return named or (self._spec.exemplars if self._spec else None)

    async def _version(self, project: str | None) -> str:
        exemplars = await self._exemplars(project)
        if exemplars is None:
            return f"{self._config.model}, no exemplars yet"
        try:
            return f"{self._config.model}, {exemplars} {(await self._service.get_set(exemplars)).digest[:8]}"
        except ProblemError:
            return f"{self._config.model}, no set {exemplars}"


def _named_set(extra_params: Any) -> str | None:
    """`{"exemplars": "foxes"}`, as JSON text, as an object, or the bare name."""
    if isinstance(extra_params, str) and extra_params.lstrip().startswith("{"):
        try:
            extra_params = json.loads(extra_params)
        except (ValueError, RecursionError):
            return None
    named = extra_params.get("exemplars") if isinstance(extra_params, dict) else extra_params
    return named.strip() if isinstance(named, str) and NAME.fullmatch(named.strip()) else None
