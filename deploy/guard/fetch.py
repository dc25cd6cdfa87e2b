"""Fetch what a request names by URI: only from configured prefixes, each redirect checked again, never too much.

A host inside a prefix may still resolve to an address it should not (or to another one the second time), so the
address is looked up once, judged, and the connection goes to that very address.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from deploy.endpoint.problems import ProblemError
from tlg import store as storage
from tlg.errors import StorageError

MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
SECONDS = 20.0


def is_below(uri: str, prefixes: tuple[str, ...]) -> str | None:
    """The prefix that `uri` lies below, None if there is none. Tricks with dots, escapes and users find none."""
    # A file or an object may have a space in its name, a web address may not.
    unusable = r"[\x00-\x20\x7f\\]" if storage.scheme(uri) in ("http", "https") else r"[\x00-\x1f\x7f\\]"
    if re.search(unusable, uri) or uri != uri.strip():
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


def _remote_below(uri: str, prefix: str) -> bool:
    try:
        asked, allowed = urlsplit(uri), urlsplit(prefix)
        same_place = (asked.scheme, asked.hostname, asked.port) == (allowed.scheme, allowed.hostname, allowed.port)
    except ValueError:
        return False
    if not same_place or "@" in asked.netloc:
        return False
    base = allowed.path if allowed.path.endswith("/") else allowed.path + "/"
    return (asked.path or "/").startswith(base)


def _local_below(uri: str, prefix: str) -> bool:
    path = os.path.realpath(storage.path_in_store(uri))
    base = os.path.realpath(storage.path_in_store(prefix))
    return os.path.commonpath([path, base]) == base and path != base


class Fetcher:
    """Reads allowed URIs, at most `max_bytes` of each. Blocking: call it in a thread."""

    def __init__(self, prefixes: tuple[str, ...], max_bytes: int, access: storage.Access = storage.DEFAULT_ACCESS):
        self.prefixes, self.max_bytes, self.access = prefixes, max_bytes, access

    def allowed(self, uri: str) -> str:
        prefix = is_below(uri, self.prefixes)
        if prefix is None:
            place = "none is configured" if not self.prefixes else "it lies below none of the configured ones"
            raise ProblemError(
                403, "uri-not-allowed", f"this URI is not fetched: {place} (`uri_prefixes`); send the bytes instead"
            )
        return prefix

    def read(self, uri: str, headers: dict[str, str] | None = None) -> bytes:
        prefix = self.allowed(uri)
        if storage.scheme(uri) in ("http", "https"):
            return self._read_http(uri, prefix, headers or {})
        if storage.size(uri, self.access) > self.max_bytes:
            raise self._too_large(uri)
        return storage.read(uri, self.access)

    def _read_http(self, uri: str, prefix: str, headers: dict[str, str]) -> bytes:
        # An operator who writes an address, or localhost, into a prefix means that address.
        for _ in range(MAX_REDIRECTS + 1):
            target, host = _pinned(uri, prefix)
            try:
                with (
                    httpx.Client(timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
                    client.stream(
                        "GET",
                        target,
                        headers={"Host": urlsplit(uri).netloc, "Accept-Encoding": "identity", **headers},
                        extensions={"sni_hostname": host},
                    ) as answer,
                ):
                    if answer.status_code in REDIRECTS:
                        there = urljoin(uri, answer.headers.get("location", ""))
                        prefix = self.allowed(there)
                        if urlsplit(there).netloc != urlsplit(uri).netloc:
                            headers = {}  # a token is for the host it was given for
                        uri = there
                        continue
                    if answer.status_code != 200:
                        transient = answer.status_code in (408, 425, 429) or answer.status_code >= 500
                        raise StorageError(f"{uri}: the server answered {answer.status_code}", transient=transient)
                    return self._bounded(uri, answer)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise StorageError(f"{uri}: {type(error).__name__} while fetching", transient=True) from None
        raise StorageError(f"{uri}: more than {MAX_REDIRECTS} redirects")

    def _bounded(self, uri: str, answer: httpx.Response) -> bytes:
        content = bytearray()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > self.max_bytes:
                raise self._too_large(uri)
        return bytes(content)

    def _too_large(self, uri: str) -> ProblemError:
        return ProblemError(413, "too-large", f"{uri}: larger than {self.max_bytes / 1e6:g} MB")


def _pinned(uri: str, prefix: str) -> tuple[str, str]:
    """The URI with its host's address in place of the name, and the name."""
    parts = urlsplit(uri)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise StorageError(f"{uri}: its host cannot be found", transient=True) from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    meant = _is_literal(urlsplit(prefix).hostname or "")
    for address in addresses:
        if address.is_link_local or address.is_multicast or (not meant and not address.is_global):
            raise ProblemError(403, "uri-not-allowed", f"this URI is not fetched: {host} is not a public address")
    address = addresses[0]
    place = f"[{address}]" if address.version == 6 else str(address)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{place}:{port}{parts.path or '/'}{query}", host


def _is_literal(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
