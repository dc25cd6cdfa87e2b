"""Routes of exemplar sets: kept under a name or a digest, read with their images, checked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from deploy.endpoint import bodies
from deploy.endpoint.described import body
from deploy.endpoint.examples import INLINE_SET
from deploy.endpoint.pictures import image_response
from deploy.endpoint.preconditions import if_unchanged
from deploy.endpoint.schema import SET_NAME, ExemplarForm, InlineSet
from deploy.endpoint.service import Service
from tlg.answers.wire import StoredSet, StoredSets
from tlg.exemplars import Drawn

SetNameInPath = Annotated[str, PathParameter(pattern=SET_NAME, description="Name (or, to read, digest) of a set")]
DigestInPath = Annotated[str, PathParameter(pattern="^[0-9a-f]{32}$", description="Digest of a set")]
ImageInPath = Annotated[
    str, PathParameter(pattern="^[A-Za-z0-9-]{1,100}(/[A-Za-z0-9-]{1,100})*$", description="What follows `images/`")
]
IfMatch = Annotated[str | None, Header(description='`"DIGEST"`: only if the name still means this content, else 412')]
IfNoneMatch = Annotated[str | None, Header(description="`*`: only if the name is new, else 412")]


class StoredExemplar(Drawn):
    """`image` and `mask` are what `stored` of a request's image takes."""

    image: str
    mask: str | None = None


class StoredExemplars(BaseModel):
    name: str
    attributes: str | None = None
    context: list[str] = []
    exemplars: list[StoredExemplar]


class SetDocument(BaseModel):
    """A stored set as it can be changed and put again."""

    name: str
    digest: str
    classes: list[StoredExemplars]
    negatives: list[str]


class CheckedExemplar(BaseModel):
    """What the other exemplars of its class say of one; `warning` says what to look at."""

    class_name: str
    position: int = Field(description="Within its class, from 1")
    presence: float | None = Field(None, description="Whether the others find the class in it; none where it is alone")
    overlap: float | None = Field(None, description="How far its mask agrees with what the others mark")
    rival: str | None = Field(None, description="Another class that it looks more like")
    warning: str | None = None


class SetCheck(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model: str
    exemplars: list[CheckedExemplar]


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["exemplar sets"])
    is_new: dict[int | str, dict[str, Any]] = {201: {"model": StoredSet, "description": "The name is new"}}

    @routes.get("/v1/exemplar-sets")
    async def list_sets() -> StoredSets:
        """Every named set with its classes, without their images."""
        return StoredSets(exemplar_sets=await service.list_sets())

    @routes.post("/v1/exemplar-sets", status_code=201, openapi_extra=body(INLINE_SET, ExemplarForm))
    async def keep_set(request: Request) -> StoredSet:
        """Keep labelled images without a name. Requests name them by the digest, so they are sent once."""
        return await service.keep_set(await _inline(request))

    @routes.put("/v1/exemplar-sets/{name}", responses=is_new, openapi_extra=body(INLINE_SET, ExemplarForm))
    async def put_set(
        name: SetNameInPath, request: Request, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
    ) -> StoredSet:
        """Keep labelled images under a name. The digest depends on names, texts, drawings and bytes alone."""
        expected = if_unchanged(if_match, if_none_match)
        stored, is_new = await service.put_set(name, await _inline(request), expected)
        return JSONResponse(stored.model_dump(), 201 if is_new else 200)  # type: ignore[return-value]

    @routes.get("/v1/exemplar-sets/{name}")
    async def get_set(name: SetNameInPath) -> StoredSet:
        """What a set holds, without its images."""
        return await service.get_set(name)

    @routes.delete("/v1/exemplar-sets/{name}", status_code=204)
    async def delete_set(name: SetNameInPath, if_match: IfMatch = None) -> None:
        """Forget a name. Its content stays under its digest for a while, for jobs that wait."""
        await service.delete_set(name, if_unchanged(if_match))

    @routes.get("/v1/exemplar-sets/{name}/document")
    async def get_document(name: SetNameInPath) -> SetDocument:
        """The whole set, drawings included; its images are named as `stored` takes them."""
        stored, document = await service.stored(service.store.document, name)
        return _document(stored.name, stored.digest, document)

    @routes.get(
        "/v1/exemplar-sets/{digest}/images/{image:path}",
        response_class=Response,
        responses={200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def get_image(digest: DigestInPath, image: ImageInPath) -> Response:
        """An image or mask of a set, as it was sent."""
        return image_response(await service.stored(service.store.file, digest, f"images/{image}"), lasting=True)

    @routes.post("/v1/exemplar-sets/{name}/check")
    async def check_set(name: SetNameInPath, model: str | None = None) -> SetCheck:
        """Does each exemplar help? Each is answered by the others of its class, as if it were a picture."""
        model_name, checks = await service.check_set(name, model)
        return SetCheck(model=model_name, exemplars=[CheckedExemplar(**vars(check)) for check in checks])

    return routes


async def _inline(request: Request) -> InlineSet:
    if bodies.is_json(request):
        return await bodies.read_json(request, InlineSet)
    return await bodies.inline_set(await bodies.read_form(request))


def _document(name: str, digest: str, document: dict[str, Any]) -> SetDocument:
    def placed(ref: dict[str, Any]) -> dict[str, Any]:
        return ref | {part: f"{digest}/{ref[part]}" for part in ("image", "mask") if ref.get(part)}

    classes = [
        of_class | {"exemplars": [placed(ref) for ref in of_class["exemplars"]]} for of_class in document["classes"]
    ]
    negatives = [f"{digest}/{path}" for path in document.get("negatives", [])]
    return SetDocument(name=name, digest=digest, classes=classes, negatives=negatives)
