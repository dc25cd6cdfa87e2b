"""Fetch what a request names by URI: only from configured prefixes, each redirect checked again, never too much.

A host inside a prefix may still resolve to an address it should not (or to another one the second time), so the
address is looked up once, judged, and the connection goes to that very address.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from deploy.endpoint.problems import ProblemError
from tlg import store as storage
from tlg.errors import StorageError
from tlg.store.archives import parted

MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
# From the first look-up to the last byte, redirects included.
SECONDS = 20.0
CONNECT_SECONDS = 5.0
THREADS = 16
WEB = ("http", "https")


def is_below(uri: str, prefixes: tuple[str, ...]) -> str | None:
    """The prefix that `uri` lies below, None if there is none. Tricks with dots, escapes and users find none."""
    uri = with_lower_scheme(uri)
    # A file or an object may have a space in its name, a web address may not.
    unusable = r"[\x00-\x20\x7f\\]" if storage.scheme(uri) in WEB else r"[\x00-\x1f\x7f\\]"
    if re.search(unusable, uri) or uri != uri.strip():
        return None
    # A link to an archive elsewhere would not be seen through, and an index costs more than one picture may.
    if parted(uri) and storage.scheme(uri) not in WEB:
        return None
    plain = unquote(unquote(uri))
    if any(part in ("..", ".") for part in re.split(r"[/\\]", plain)) or re.search(r"[\x00-\x1f\x7f\\]", plain):
        return None
    for prefix in prefixes:
        if storage.scheme(prefix) == "file":
            if storage.scheme(uri) == "file" and _local_below(uri, prefix):
                return prefix
        elif _remote_below(uri, prefix):
            return prefix
    return None


def with_lower_scheme(uri: str) -> str:
    """`HTTP://` is `http://`; of everything after it the case matters."""
    name, separator, rest = uri.partition("://")
    return name.lower() + separator + rest if separator else uri


def _remote_below(uri: str, prefix: str) -> bool:
    try:
        target, allowed = urlsplit(uri), urlsplit(with_lower_scheme(prefix))
        same_place = (target.scheme, target.hostname, target.port) == (allowed.scheme, allowed.hostname, allowed.port)
        # Hosts are one in any case, buckets are not.
        same_place &= target.scheme in WEB or target.netloc == allowed.netloc
    except ValueError:
        return False
    if not same_place or "@" in target.netloc:
        return False
    base = allowed.path if allowed.path.endswith("/") else allowed.path + "/"
    return (target.path or "/").startswith(base)


def _local_below(uri: str, prefix: str) -> bool:
    path = os.path.realpath(storage.path_in_store(uri))
    base = os.path.realpath(storage.path_in_store(prefix))
    # A folder lies below itself, as a bucket prefix does; a file of that name does not.
    return os.path.commonpath([path, base]) == base and (path != base or uri.endswith("/"))


class Fetcher:
    """Reads allowed URIs: at most `max_bytes` of each, within `seconds` in all, whatever the other side does.

    Web addresses take no thread while they are waited for; stores, files and name servers have threads of their own.
    So a slow server holds up those who asked for it, and nobody else.
    """

    def __init__(
        self,
        prefixes: tuple[str, ...],
        max_bytes: int,
        access: storage.Access = storage.DEFAULT_ACCESS,
        seconds: float = SECONDS,
    ):
        self.prefixes, self.max_bytes, self.access, self.seconds = prefixes, max_bytes, access, seconds
        self._store_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")
        self._lookup_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lookup")

    def allowed(self, uri: str) -> str:
        prefix = is_below(uri, self.prefixes)
        if prefix is None:
            place = "none is configured" if not self.prefixes else "it lies below none of the configured ones"
            raise ProblemError(
                403, "uri-not-allowed", f"this URI is not fetched: {place} (`uri_prefixes`); send the bytes instead"
            )
        return prefix

    async def read(self, uri: str, headers: dict[str, str] | None = None) -> bytes:
        uri = with_lower_scheme(uri)
        prefix = self.allowed(uri)
        is_web = storage.scheme(uri) in WEB
        reading = self._read_web(uri, prefix, headers or {}) if is_web else self._in_thread(self._read_stored, uri)
        try:
            return await asyncio.wait_for(reading, self.seconds)
        except asyncio.TimeoutError:
            raise StorageError(f"{uri}: not read within {self.seconds:g} s", transient=True) from None

    async def _in_thread(self, call: Callable[[str], bytes], uri: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._store_threads, call, uri)

    def _read_stored(self, uri: str) -> bytes:
        if storage.size(uri, self.access) > self.max_bytes:
            raise self._too_large(uri)
        return storage.read(uri, self.access)

    async def _read_web(self, uri: str, prefix: str, headers: dict[str, str]) -> bytes:
        async with httpx.AsyncClient(
            timeout=httpx.Timeout(self.seconds, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
            verify=_certificates(),
        ) as client:
            for _ in range(MAX_REDIRECTS + 1):
                answer = await self._answer(client, uri, prefix, headers)
                if isinstance(answer, bytes):
                    return answer
                prefix = self.allowed(answer)
                if urlsplit(answer).netloc != urlsplit(uri).netloc:
                    headers = {}  # a token is for the host it was given for
                uri = answer
        raise StorageError(f"{uri}: more than {MAX_REDIRECTS} redirects")

    async def _answer(self, client: httpx.AsyncClient, uri: str, prefix: str, headers: dict[str, str]) -> bytes | str:
        """The content, or where the server says it is. The host's addresses are tried in turn."""
        targets, host = await self._pinned(uri, prefix)
        for position, target in enumerate(targets, start=1):
            try:
                async with client.stream(
                    "GET",
                    target,
                    headers={"Host": urlsplit(uri).netloc, "Accept-Encoding": "identity", **headers},
                    extensions={"sni_hostname": host},
                ) as answer:
                    return await self._read_answer(uri, answer)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if position == len(targets):
                    raise StorageError(f"{uri}: {type(error).__name__} while fetching", transient=True) from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise StorageError(f"{uri}: {type(error).__name__} while fetching", transient=True) from None
        raise AssertionError("a host that was found has an address")

    async def _read_answer(self, uri: str, answer: httpx.Response) -> bytes | str:
        if answer.status_code in REDIRECTS:
            try:
                return with_lower_scheme(urljoin(uri, answer.headers.get("location", "")))
            except ValueError:
                raise StorageError(f"{uri}: the server redirects to something that is no address") from None
        if answer.status_code != 200:
            transient = answer.status_code in (408, 425, 429) or answer.status_code >= 500
            raise StorageError(
                f"{uri}: the server answered {answer.status_code}",
                transient=transient,
                missing=answer.status_code in (404, 410),
                denied=answer.status_code in (401, 403),
            )
        content = bytearray()
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > self.max_bytes:
                raise self._too_large(uri)
        return bytes(content)

    def _too_large(self, uri: str) -> ProblemError:
        return ProblemError(413, "too-large", f"{uri}: larger than {self.max_bytes / 1e6:g} MB")

    async def _pinned(self, uri: str, prefix: str) -> tuple[list[str], str]:
        """The URI with each of its host's addresses in place of the name, and the name."""
        parts = urlsplit(uri)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        lookup = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            entries = await asyncio.get_running_loop().run_in_executor(self._lookup_threads, lookup)
        except (OSError, UnicodeError):
            raise StorageError(f"{uri}: its host cannot be found", transient=True) from None
        addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in entries]
        # An operator who writes an address, or localhost, into a prefix means that address.
        meant = _is_literal(urlsplit(prefix).hostname or "")
        for address in addresses:
            if address.is_link_local or address.is_multicast or (not meant and not address.is_global):
                raise ProblemError(403, "uri-not-allowed", f"this URI is not fetched: {host} is not a public address")
        query = f"?{parts.query}" if parts.query else ""
        places = (f"[{address}]" if address.version == 6 else str(address) for address in dict.fromkeys(addresses))
        return [f"{parts.scheme}://{place}:{port}{parts.path or '/'}{query}" for place in places], host


@functools.lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Reading them takes longer than many a download."""
    return httpx.create_ssl_context(trust_env=False)


def _is_literal(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
