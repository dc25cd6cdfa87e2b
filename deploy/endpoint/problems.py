"""Every refusal is an RFC 9457 problem: what was found, what was expected, the way out, and never a stack trace."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from deploy.endpoint.schema import Problem
from tlg.errors import CheckpointError, ClusterError, InputError, SpecError, StorageError, TlgError

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "The request cannot be read",
    401: "An API key is needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "The request took too long to arrive",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Unsupported media type",
    422: "The request does not say what it should",
    429: "Too many requests at the same time",
    431: "Headers too large",
    500: "Something went wrong here",
    502: "A store or server behind the endpoint failed",
    503: "Busy",
    504: "The answer took too long",
}
logger = logging.getLogger("tlg.serve")


class ProblemError(Exception):
    """Raise it anywhere below a route; the client sees exactly this."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.status, self.kind, self.detail, self.headers = status, kind, detail, dict(headers or {})


def problem_of(error: TlgError) -> ProblemError:
    """What the library's errors are called on the wire."""
    detail = cleaned(str(error))
    if isinstance(error, InputError):
        return ProblemError(422, f"image-{error.kind.replace('_', '-')}", detail)
    if isinstance(error, SpecError):
        return ProblemError(422, "invalid", detail)
    if isinstance(error, StorageError):
        if error.transient:
            return ProblemError(502, "storage", detail, {"Retry-After": "2"})
        return ProblemError(422, "storage", detail)
    if isinstance(error, CheckpointError):
        return ProblemError(503, "model", detail, {"Retry-After": "30"})
    if isinstance(error, ClusterError):
        return ProblemError(502, "cluster", detail, {"Retry-After": "5"})
    return ProblemError(500, "internal", "the request failed; its id is in the logs")


def cleaned(text: str) -> str:
    """Without memory addresses, and without credentials that a URI may carry."""
    text = re.sub(r"<_?io\.\w+ object at 0x[0-9a-f]+>", "the content", text)
    text = re.sub(r"://[^/@\s]+@", "://", text)
    return re.sub(r"([?&][\w-]*(?:signature|token|credential|key|sig)[\w-]*=)[^&\s]+", r"\1…", text, flags=re.I)


def explain_validation(errors: ValidationError | RequestValidationError) -> str:
    """Each problem with its place; the values themselves are not repeated."""
    shown = []
    for problem in errors.errors()[:5]:
        where = ".".join(str(part) for part in problem["loc"] if part != "body")
        message = str(problem["msg"]).removeprefix("Value error, ")
        shown.append(f"{where}: {message}" if where else message)
    rest = len(errors.errors()) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest > 0 else "")


def response(problem: ProblemError, request_id: str) -> JSONResponse:
    body = Problem(
        type=f"urn:tlg:problem:{problem.kind}",
        title=TITLES.get(problem.status, "The request was refused"),
        status=problem.status,
        detail=problem.detail,
        instance=f"urn:tlg:request:{request_id}",
    )
    content = body.model_dump()
    # A lone surrogate in a name or path would not survive UTF-8.
    content["detail"] = content["detail"].encode("utf-8", "replace").decode()
    return JSONResponse(content, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""

    def request_id(request: Request) -> str:
        return request.scope.get("tlg.request_id", "unknown")

    @app.exception_handler(ProblemError)
    async def known(request: Request, error: ProblemError) -> JSONResponse:
        return response(error, request_id(request))

    @app.exception_handler(TlgError)
    async def library(request: Request, error: TlgError) -> JSONResponse:
        return response(problem_of(error), request_id(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return response(ProblemError(422, "invalid", explain_validation(error)), request_id(request))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"{request.method} {request.url.path}: {error.detail}"
        kind = TITLES.get(error.status_code, "refused").lower().replace(" ", "-")
        return response(ProblemError(error.status_code, kind, detail, error.headers), request_id(request))
