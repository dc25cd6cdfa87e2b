"""Routes for whoever looks at pictures: those behind addresses, and files of answers that a person mended."""

from __future__ import annotations

import asyncio
import itertools
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from deploy.endpoint import bodies, packing
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.described import body
from deploy.endpoint.packing import Export
from deploy.endpoint.pictures import image_response
from deploy.endpoint.problems import ProblemError
from deploy.endpoint.service import Service
from deploy.guard.fetch import is_below
from tlg import pictures, store

Uri = Annotated[str, Query(min_length=1, max_length=2048)]
MAX_LISTED = 2000


class Settings(BaseModel):
    """What this endpoint can do, so that a page can say why something cannot be done."""

    model: str
    models: list[str]
    uri_prefixes: bool
    jobs: bool
    image_pixels: int
    body_mb: float
    exemplars_per_set: int


class PictureList(BaseModel):
    """`complete` is False where there are more than a page should hold."""

    uris: list[str]
    complete: bool


def router(config: ServeConfig, service: Service) -> APIRouter:
    routes = APIRouter(tags=["pictures"])

    @routes.get("/v1/settings")
    async def settings() -> Settings:
        """Models and limits of this endpoint, and whether it fetches addresses and submits jobs."""
        return Settings(
            model=config.model,
            models=list(config.known_models),
            uri_prefixes=bool(config.uri_prefixes),
            jobs=config.jobs_address is not None,
            image_pixels=config.limits.image_pixels,
            body_mb=config.limits.body_mb,
            exemplars_per_set=config.limits.exemplars_per_set,
        )

    @routes.get(
        "/v1/pictures",
        response_class=Response,
        responses={200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def picture(uri: Uri) -> Response:
        """The image behind an address that requests may name too."""
        return image_response(await service.fetcher.read(uri))

    @routes.get("/v1/picture-lists")
    async def picture_list(uri: Uri) -> PictureList:
        """The images below a folder or bucket prefix that requests may name; web servers have no such lists."""
        folder = uri.rstrip("/") + "/"
        if is_below(folder, tuple(config.uri_prefixes)) is None:
            raise ProblemError(403, "uri-not-allowed", "the address lies below none of the endpoint's `uri_prefixes`")
        if store.scheme(folder) in ("http", "https"):
            raise ProblemError(422, "invalid", "a web address has no list of images; expected a folder or a bucket")
        return await service.stored(_listed, folder, config)

    @routes.post("/v1/exports/{kind}", openapi_extra=body(packing.EXAMPLE), response_class=Response, responses=ZIP)
    async def export(kind: Literal["yolo_seg", "label_maps"], request: Request) -> Response:
        """Answers, mended or not, as a zip archive in the layout that the batch job writes."""
        order = await bodies.read_json(request, Export)
        return Response(await asyncio.to_thread(packing.packed, order, kind), media_type="application/zip")

    return routes


ZIP: dict[int | str, dict] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}, "description": "Files"}
}


def _listed(folder: str, config: ServeConfig) -> PictureList:
    uris = (entry.uri for entry in store.entries(folder, "**/*", config.access))
    images = list(itertools.islice((uri for uri in uris if uri.lower().endswith(pictures.EXTENSIONS)), MAX_LISTED + 1))
    return PictureList(uris=sorted(images[:MAX_LISTED]), complete=len(images) <= MAX_LISTED)
