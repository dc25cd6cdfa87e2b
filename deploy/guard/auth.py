"""Who may call: API keys, or nobody but this machine."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.endpoint import problems
from deploy.endpoint.config import ServeConfig, is_loopback
from deploy.endpoint.problems import ProblemError
from tlg.errors import SpecError

ENVIRONMENT = "TLG_API_KEYS"
MIN_LENGTH = 16
# Pages without data, and what a load balancer asks before it has a key.
OPEN = frozenset({"/", "/review", "/docs", "/openapi.json", "/healthz", "/readyz"})
OPEN_PREFIX = "/ui/"
# A process that is busy is alive: what asks for its health is never one request too many.
HEALTH = frozenset({"/healthz", "/readyz", "/health", "/ls/health"})


class Keys:
    """API keys, held as digests and compared in constant time."""

    def __init__(self, keys: Iterable[str]):
        self._digests = []
        for key in keys:
            if len(key) < MIN_LENGTH:
                raise SpecError(f"an API key has {len(key)} characters, at least {MIN_LENGTH} are needed")
            self._digests.append(_digest(key))

    def __bool__(self) -> bool:
        return bool(self._digests)

    def identify(self, key: str) -> str | None:
        """A short public name for a known key, None for an unknown one. Looks at every key, whatever it finds."""
        digest, caller = _digest(key), None
        for known in self._digests:
            if hmac.compare_digest(digest, known):
                caller = known.hex()[:8]
        return caller


def load_keys(config: ServeConfig) -> Keys:
    """Keys of the environment and of `keys_file`, separated by commas or lines."""
    text = os.environ.get(ENVIRONMENT, "")
    if config.keys_file:
        try:
            text += "\n" + Path(config.keys_file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"keys_file {config.keys_file}: cannot be read: {error}") from None
    lines = (part.strip() for part in text.replace(",", "\n").splitlines())
    return Keys(line for line in lines if line and not line.startswith("#"))


def checked_exposure(config: ServeConfig, keys: Keys) -> None:
    """Refuse to serve other machines without keys, unless told so in so many words."""
    if keys or config.insecure or is_loopback(config.host):
        return
    raise SpecError(
        f"host {config.host} can be reached from other machines and there are no API keys; put keys into "
        f"{ENVIRONMENT} or a keys_file, or say `insecure: true` (--insecure) if anyone may use it"
    )


class AccessMiddleware:
    """Lets known keys in, so many requests of each at a time. Without keys: this machine only."""

    def __init__(self, app: ASGIApp, keys: Keys, insecure: bool, requests_per_key: int):
        self.app, self.keys, self.insecure, self.limit = app, keys, insecure, requests_per_key
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            caller = self._caller(scope)
            if self._running[caller] >= self.limit and scope["path"] not in HEALTH:
                raise ProblemError(
                    429, "too-many-requests", f"{self.limit} requests of this key are running", {"Retry-After": "1"}
                )
        except ProblemError as problem:
            await problems.response(problem, scope.get("tlg.request_id", "unknown"))(scope, receive, send)
            return
        scope["tlg.caller"] = caller
        self._running[caller] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._running[caller] -= 1
            if not self._running[caller]:
                del self._running[caller]

    def _caller(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        if self.keys:
            offered = offered_key(headers)
            caller = self.keys.identify(offered) if offered else None
            if caller:
                return caller
            if scope["path"] in OPEN or scope["path"].startswith(OPEN_PREFIX):
                return f"open {_address(scope)}"
            detail = "this API key is not known" if offered else "send `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            raise ProblemError(401, "key-needed", detail, {"WWW-Authenticate": 'Bearer realm="tlg"'})
        if not self.insecure:
            _only_this_machine(scope, headers)
        return _address(scope)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "local"


def offered_key(headers: Headers) -> str | None:
    """The key of a request, in any of the ways that labelling tools can send one."""
    for name in ("x-api-key", "token"):
        if headers.get(name):
            return headers[name]
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() in ("bearer", "token"):
        return value.strip() or None
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, ValueError):
            return None
    return None


def _only_this_machine(scope: Scope, headers: Headers) -> None:
    client = scope.get("client")
    if client and not is_loopback(client[0]):
        raise ProblemError(403, "no-keys", f"without API keys only this machine is served; set {ENVIRONMENT}")
    # A page elsewhere could make a browser here call us, by another name for this address or across sites.
    try:
        name = urlsplit("//" + headers.get("host", "localhost")).hostname or ""
        origin = headers.get("origin")
        foreign = origin is not None and (origin == "null" or urlsplit(origin).netloc != headers.get("host"))
    except ValueError:  # an address that cannot be read is nobody's here
        name, foreign = "", True
    if not is_loopback(name) or foreign or headers.get("sec-fetch-site") == "cross-site":
        raise ProblemError(
            403, "other-site", f"without API keys only pages of this very address may call; set {ENVIRONMENT}"
        )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
