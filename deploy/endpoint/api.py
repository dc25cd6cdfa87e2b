"""API v1 as a FastAPI application, the same whether Serve's replicas answer or a pool in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.staticfiles import StaticFiles

from deploy.connectors import label_studio, x_anylabeling
from deploy.endpoint import bodies, examples, formats, job_routes, picture_routes, problems, set_routes
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.described import REFERENCE, body
from deploy.endpoint.metrics import Meters
from deploy.endpoint.packing import Export
from deploy.endpoint.schema import (
    AnnotateForm,
    AnnotateRequest,
    BatchForm,
    BatchRequest,
    ExemplarForm,
    InlineSet,
    Problem,
)
from deploy.endpoint.service import Service
from deploy.guard.auth import AccessMiddleware, Keys
from deploy.guard.limits import BodyLimitMiddleware, DeadlineMiddleware, MemoryBudget, RequestMiddleware
from deploy.replica.pool import Segmenter
from deploy.review import of_jobs
from tlg.answers.wire import Answers, Coco, Health
from tlg.spec import AnnotateSpec

UI = Path(__file__).parents[1] / "page"
Scrape = Callable[[], Awaitable[str]]
REFUSALS = (400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 429, 431, 500, 502, 503, 504)
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": problems.TITLES[status],
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in REFUSALS
}
# Bodies that the routes read themselves, because they come as JSON and as multipart.
BODIES: tuple[type[BaseModel], ...] = (
    Problem, AnnotateRequest, AnnotateForm, BatchRequest, BatchForm, InlineSet, ExemplarForm, AnnotateSpec, Export,
)  # fmt: skip


def create_app(config: ServeConfig, keys: Keys, segmenter: Segmenter, meters: Meters, scrape: Scrape) -> FastAPI:
    """The whole endpoint; `scrape` gives the metrics of every process as text."""
    budget = MemoryBudget(int(config.limits.bodies_mb * 1_000_000))
    meters.held_bytes.set_function(lambda: budget.held)
    is_private = not keys and not config.insecure
    service = Service(config, segmenter, meters, budget, is_private)
    app = FastAPI(title="tlg", version="1", docs_url=None, redoc_url=None, responses=PROBLEMS)
    problems.install(app)
    _add_pages(app)
    _add_operations(app, config, service, scrape)
    _add_annotation(app, service)
    app.include_router(set_routes.router(service))
    app.include_router(picture_routes.router(config, service))
    app.include_router(job_routes.router(config, service))
    app.include_router(of_jobs.router(config, service))
    app.include_router(label_studio.router(config, service))
    app.include_router(x_anylabeling.router(config, service))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    # The last added is the outermost.
    app.add_middleware(BodyLimitMiddleware, max_bytes=int(config.limits.body_mb * 1_000_000), budget=budget)
    app.add_middleware(DeadlineMiddleware, seconds=config.limits.timeout_seconds)
    app.add_middleware(
        AccessMiddleware, keys=keys, insecure=config.insecure, requests_per_key=config.limits.requests_per_key
    )
    app.add_middleware(RequestMiddleware, meters=meters)
    return app


def run_id(request: Request) -> str:
    return request.scope["tlg.request_id"]


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(UI / "index.html")

    @app.get("/review", include_in_schema=False)
    def review() -> FileResponse:
        return FileResponse(UI / "review.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(UI / "docs.html")

    app.mount("/ui", StaticFiles(directory=UI), name="ui")


def _add_operations(app: FastAPI, config: ServeConfig, service: Service, scrape: Scrape) -> None:
    @app.get("/healthz", tags=["operations"])
    def healthz() -> Health:
        """This process answers."""
        return Health(status="ok", model=config.model)

    @app.get("/readyz", tags=["operations"])
    async def readyz() -> Health:
        """Models can be asked and the store can be read."""
        await service.check_ready()
        return Health(status="ok", model=config.model)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus text, summed over every process of this endpoint."""
        return PlainTextResponse(await scrape(), media_type="text/plain; version=0.0.4")


def _add_annotation(app: FastAPI, service: Service) -> None:
    tags: list[Any] = ["annotation"]
    answers: dict[str, Any] = {"model": Answers | Coco, "description": "Rows, or a COCO document"}
    png = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}

    @app.post(
        "/v1/annotate",
        tags=tags,
        response_model=None,
        responses={200: answers | png},
        openapi_extra=body(examples.ANNOTATE, AnnotateForm),
    )
    async def annotate(request: Request) -> Response:
        """Masks for one image. `png` gives an indexed picture whose values are class ids."""
        order = await bodies.read_request(request, AnnotateRequest)
        rows, classes = await service.annotate(order, run_id(request))
        if order.format == "png":
            return Response(await asyncio.to_thread(formats.png, rows), media_type="image/png")
        return await _answer(rows, classes, order.format)

    @app.post(
        "/v1/annotate/batch",
        tags=tags,
        response_model=None,
        responses={200: answers},
        openapi_extra=body(examples.BATCH, BatchForm),
    )
    async def annotate_batch(request: Request) -> Response:
        """Masks for up to 64 images. An image that cannot be read is a row with status `error`."""
        order = await bodies.read_request(request, BatchRequest)
        rows, classes = await service.annotate(order, run_id(request))
        return await _answer(rows, classes, order.format)


async def _answer(rows: list[formats.Row], classes: list[str], form: Literal["rle", "polygon", "coco"]) -> Response:
    if form == "coco":
        document = await asyncio.to_thread(formats.coco, rows, classes)
        return Response(document, media_type="application/json")
    if form == "polygon":
        rows = await asyncio.to_thread(formats.with_polygons, rows)
    return JSONResponse({"rows": rows})


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the models of the bodies that routes read themselves."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title, version=app.version, routes=app.routes, description="Few exemplars to masks."
    )
    _, described = models_json_schema([(model, "validation") for model in BODIES], ref_template=REFERENCE)
    document["components"]["schemas"] |= described["$defs"]
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    app.openapi_schema = document
    return document
