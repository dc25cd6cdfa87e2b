"""Web addresses, which are only read."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from functools import lru_cache

import httpx

from tlg.errors import StorageError
from tlg.store import bodies
from tlg.store.failures import missing, status_may_pass
from tlg.store.protocol import WholeStore

# A host that has no name any more will have none tonight; a resolver that is out of order says so by other numbers.
NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class WebStore(WholeStore):
    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        with explained(uri), client().stream("GET", uri) as answer:
            check(uri, answer)
            return bodies.whole(uri, answer.iter_bytes(), max_bytes)

    def exists(self, uri: str) -> bool:
        try:
            self.read(uri)
        except StorageError as error:
            if error.missing:
                return False
            raise
        return True


@lru_cache(maxsize=1)
def client() -> httpx.Client:
    """One for the process: making one costs more than most downloads, and connections are kept."""
    return httpx.Client(
        timeout=httpx.Timeout(bodies.STALL_SECONDS, connect=bodies.CONNECT_SECONDS),
        follow_redirects=True,
        headers={"Accept-Encoding": "identity"},  # pictures are compressed already
    )


def check(uri: str, answer: httpx.Response) -> None:
    status = answer.status_code
    if status in (404, 410):
        raise missing(uri)
    if status in (401, 403):
        raise StorageError(f"{uri}: the server refuses access (status {status})", denied=True)
    if status != 200:
        wait = answer.headers.get("Retry-After", "")
        raise StorageError(
            f"{uri}: the server answered {status}",
            transient=status_may_pass(status),
            retry_after=float(wait) if wait.isascii() and wait.isdigit() else 0.0,
        )


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise StorageError(f"{uri}: not a usable address: {error}") from None
    except httpx.TooManyRedirects:
        raise StorageError(f"{uri}: its redirects lead in a circle") from None
    except httpx.DecodingError as error:
        raise StorageError(f"{uri}: not encoded as its header says: {error}", kind="unreadable") from None
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise StorageError(f"{uri}: {reason}", transient=not _is_certain(error)) from None


def _is_certain(error: BaseException | None) -> bool:
    """Whether what lies behind a failed connection will be the same at the next attempt."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        if isinstance(error, socket.gaierror):
            return error.errno in NO_SUCH_HOST
        error = error.__cause__ or error.__context__
    return False
