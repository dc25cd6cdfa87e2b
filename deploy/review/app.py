"""`tlg review`: the page and one output's answers, without an endpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.middleware.base import RequestResponseEndpoint
from starlette.staticfiles import StaticFiles

from deploy.endpoint import problems
from deploy.guard.auth import AccessMiddleware, Keys
from deploy.review import routes
from jobs.review.session import Session
from tlg import store

PAGE = Path(__file__).parents[1] / "page"
# Nothing but this very server is asked for anything, and no other page may show this one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
REQUESTS_AT_ONCE = 64
MAX_BODY = 64_000_000


def create_app(session: Session, keys: Keys) -> FastAPI:
    app = FastAPI(title="tlg review", docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
        if int(request.headers.get("content-length") or 0) > MAX_BODY:
            return Response(f"a body of at most {MAX_BODY:,} bytes is taken", 413, HEADERS)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "review.html")

    def the_session() -> Session:
        return session

    async def read(of: Session, uri: str) -> bytes:
        return await asyncio.to_thread(store.read, uri, of.access)

    app.mount("/ui", StaticFiles(directory=PAGE), name="ui")
    app.include_router(routes.router("/api/review", the_session, read))
    app.add_middleware(AccessMiddleware, keys=keys, insecure=False, requests_per_key=REQUESTS_AT_ONCE)
    return app
