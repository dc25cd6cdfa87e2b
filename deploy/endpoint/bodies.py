"""A request's body -> a typed request. JSON and multipart say the same things."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from deploy.endpoint.problems import ProblemError, explain_validation
from deploy.endpoint.schema import AnnotateRequest, BatchRequest, Content, InlineSet
from tlg.documents import Document

R = TypeVar("R", bound=Document)
MAX_PARTS = 2000
FIELDS = ("classes", "min_score", "tile", "format", "model")


async def read_json(request: Request, kind: type[R]) -> R:
    return parse_json(await request.body(), kind)


def parse_json(body: bytes, kind: type[R]) -> R:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        unreadable = any(problem["type"] == "json_invalid" for problem in error.errors())
        raise ProblemError(400 if unreadable else 422, "invalid", explain_validation(error)) from None


async def read_request(request: Request, kind: type[R]) -> R:
    """An AnnotateRequest or BatchRequest from JSON or from multipart parts of the same names.

    Multipart: `image` files (several in a batch); exemplars as the text part `exemplars` (a name, a digest or
    JSON), or as `exemplar` files, each with its class in a `label` part, and `negative` files.
    """
    if is_json(request):
        return await read_json(request, kind)
    form = await read_form(request)
    content: dict = {name: form.get(name) for name in FIELDS if name in form}
    if "classes" in form:
        content["classes"] = form.getlist("classes")
    if "exemplar" in form:
        content["exemplars"] = await inline_set(form)
    elif "exemplars" in form:
        text = form["exemplars"]
        inline = isinstance(text, str) and text.lstrip().startswith("{")
        content["exemplars"] = parse_json(str(text).encode(), InlineSet) if inline else text
    pictures = [await as_content(part) for part in form.getlist("image")]
    if kind is AnnotateRequest:
        if len(pictures) != 1:
            raise ProblemError(422, "invalid", f"found {len(pictures)} `image` parts, expected one")
        content["image"] = pictures[0]
    elif kind is BatchRequest:
        content["images"] = pictures
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ProblemError(422, "invalid", explain_validation(error)) from None


def is_json(request: Request) -> bool:
    """True for JSON, False for multipart, a problem for anything else."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return True
    if media_type == "multipart/form-data":
        return False
    sent = f"found {media_type[:100]}" if media_type else "found no Content-Type"
    raise ProblemError(415, "media-type", f"{sent}, expected application/json or multipart/form-data")


async def read_form(request: Request) -> FormData:
    try:
        return await request.form(max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=1024 * 1024)
    except HTTPException as error:
        raise ProblemError(400, "bad-multipart", f"the multipart body cannot be read: {error.detail}") from None
    except (ValueError, KeyError, AssertionError, UnicodeError):
        raise ProblemError(400, "bad-multipart", "the multipart body cannot be read") from None


async def inline_set(form: FormData) -> InlineSet:
    """`exemplar` files with as many `label` texts, in the same order, and `negative` files."""
    files, labels = form.getlist("exemplar"), form.getlist("label")
    if len(files) != len(labels):
        raise ProblemError(
            422,
            "invalid",
            f"found {len(files)} `exemplar` and {len(labels)} `label` parts; each exemplar needs its label",
        )
    classes: dict[str, list[dict]] = {}
    for file, label in zip(files, labels, strict=True):
        if not isinstance(label, str):
            raise ProblemError(422, "invalid", "`label` parts are texts, found a file")
        classes.setdefault(label.strip(), []).append({"image": await as_content(file)})
    negatives = [await as_content(file) for file in form.getlist("negative")]
    content = {"classes": [{"name": k, "exemplars": v} for k, v in classes.items()], "negatives": negatives}
    try:
        return InlineSet.model_validate(content)
    except ValidationError as error:
        raise ProblemError(422, "invalid", explain_validation(error)) from None


async def as_content(part: UploadFile | str) -> Content:
    try:
        if isinstance(part, str):
            return Content(uri=part)
        return Content.of_bytes(await part.read(), part.filename or "upload")
    except ValidationError as error:
        raise ProblemError(422, "invalid", explain_validation(error)) from None


def decode_base64(data: str) -> bytes:
    """Plain base64 or a data: URI."""
    if data.startswith("data:"):
        head, _, data = data.partition(",")
        if not head.endswith(";base64"):
            raise ProblemError(422, "invalid", "the data: URI is not base64")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ProblemError(422, "invalid", "an image's `data` is not base64") from None
