"""The outermost layer of every request: an id, a log line, counts, a bounded body, and no error that escapes."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.endpoint import logs, problems, traces
from deploy.endpoint.metrics import Meters
from deploy.endpoint.problems import ProblemError

logger = logging.getLogger("tlg.serve")
REQUEST_ID = "x-request-id"
MAX_HEADER_BYTES = 32 * 1024
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}


class RequestMiddleware:
    """Logs carry ids, routes and times: no image data, no query strings, no keys."""

    def __init__(self, app: ASGIApp, meters: Meters):
        self.app, self.meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with traces.span("request", Headers(scope=scope).get(traces.PARENT, "")) as span:
            await self._measured(scope, receive, send, span)

    async def _measured(self, scope: Scope, receive: Receive, send: Send, span: traces.Span) -> None:
        request_id = _request_id(Headers(scope=scope))
        scope["tlg.request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        self.meters.in_flight.inc()
        try:
            if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
                problem = ProblemError(431, "headers", f"the headers have more than {MAX_HEADER_BYTES:,} bytes")
                await problems.response(problem, request_id)(scope, receive, send_marked)
                return
            await self.app(scope, receive, send_marked)
        except Exception:  # the last line of defence: the client gets an id, the log gets the rest
            logger.exception("request %s failed", request_id)
            self.meters.errors.labels("internal").inc()
            if status:
                raise
            problem = ProblemError(500, "internal", "the request failed; its id is in the logs")
            await problems.response(problem, request_id)(scope, receive, send_marked)
        finally:
            self.meters.in_flight.dec()
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "none")
            self.meters.requests.labels(_known_method(scope["method"]), route, str(status)).inc()
            self.meters.observe_request(route, seconds)
            span.tell(http_route=route, http_response_status=status, tlg_request=request_id)
            facts = {"request": request_id, "method": scope["method"], "route": route, "status": status}
            facts |= {"milliseconds": round(seconds * 1000), "caller": scope.get("tlg.caller", "refused")}
            logger.info(
                "%(request)s %(method)s %(route)s %(status)s %(milliseconds)s ms caller=%(caller)s",
                facts,
                extra={logs.FACTS: facts},
            )


class DeadlineMiddleware:
    """One clock for the whole request: 408 where its body is still on its way when time is up, else 504.

    Serve's own proxy would answer in plain text, a few seconds later.
    """

    def __init__(self, app: ASGIApp, seconds: float):
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_received, is_answered = not _announces_a_body(scope), False

        async def receive_watched() -> Message:
            nonlocal is_received
            message = await receive()
            is_received = is_received or not message.get("more_body", False)
            return message

        async def send_watched(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await asyncio.wait_for(self.app(scope, receive_watched, send_watched), self.seconds)
        except asyncio.TimeoutError:
            if is_answered:
                raise
            problem = (
                ProblemError(504, "timeout", f"no answer within {self.seconds:g} s", {"Retry-After": "5"})
                if is_received
                else ProblemError(408, "timeout", f"the body did not arrive within {self.seconds:g} s")
            )
            await problems.response(problem, scope.get("tlg.request_id", "unknown"))(scope, receive, send)


class MemoryBudget:
    """Bytes of all requests' bodies and fetched images that this process holds at the same time."""

    def __init__(self, max_bytes: int):
        self.max_bytes, self.held = max_bytes, 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Within it, call what it gives with every number of bytes taken; all are given back at its end."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if self.held + count > self.max_bytes:
                text = f"requests in progress hold {self.held / 1e6:,.0f} MB, at most {self.max_bytes / 1e6:,.0f} MB"
                raise ProblemError(503, "busy", text, {"Retry-After": "1"})
            self.held += count
            mine += count

        try:
            yield take
        finally:
            self.held -= mine


class BodyLimitMiddleware:
    """413 for a body over the limit, 503 where all bodies together are: by what is announced, and while reading."""

    def __init__(self, app: ASGIApp, max_bytes: int, budget: MemoryBudget):
        self.app, self.max_bytes, self.budget = app, max_bytes, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope.get("tlg.request_id", "unknown")
        too_large = ProblemError(413, "too-large", f"the body is larger than {self.max_bytes / 1e6:g} MB")
        announced = Headers(scope=scope).get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,18}", announced):
            wrong = ProblemError(400, "bad-length", "Content-Length is not a number")
            await problems.response(wrong, request_id)(scope, receive, send)
            return
        if int(announced) > self.max_bytes:
            await problems.response(too_large, request_id)(scope, receive, send)
            return
        read, started = 0, False
        refusal: ProblemError | None = None
        with self.budget.share() as take:

            async def receive_bounded() -> Message:
                nonlocal read, refusal
                message = await receive()
                count = len(message.get("body", b""))
                read += count
                try:
                    if read > self.max_bytes:
                        raise too_large
                    take(count)
                except ProblemError as problem:
                    refusal = problem
                    raise
                return message

            async def send_unless_refused(message: Message) -> None:
                # A framework that meets the error while reading may have made another answer of it.
                nonlocal started
                if refusal is not None and not started:
                    return
                started = True
                await send(message)

            try:
                await self.app(scope, receive_bounded, send_unless_refused)
            except ProblemError as problem:
                if problem is not refusal:
                    raise
        if refusal is not None and not started:
            await problems.response(refusal, request_id)(scope, receive, send)


def _announces_a_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _request_id(headers: Headers) -> str:
    """The caller's own id if it is harmless in a log, else a new one."""
    offered = headers.get(REQUEST_ID, "")
    return offered if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", offered) else uuid.uuid4().hex[:16]


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH") else "other"
