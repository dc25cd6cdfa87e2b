"""What an address means, whatever the store behind it."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# How long a store may fail before its error is raised: all attempts at one object and the pauses between them.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Access:
    """Where the stores are, None takes the provider's default; and how long they are waited for."""

    endpoint: str | None = None
    region: str | None = None
    patience_seconds: float = PATIENCE_SECONDS


DEFAULT_ACCESS = Access()


@dataclass(frozen=True)
class Entry:
    """One stored object; `etag` changes whenever the content does, `size` is 0 where the store does not say."""

    uri: str
    etag: str
    size: int


def scheme(uri: str) -> str:
    match = SCHEME.match(uri)
    return match[1].lower() if match else "file"


def join(folder: str, value: str) -> str:
    """`value` as seen from `folder`; absolute paths and URIs stay as they are."""
    if SCHEME.match(value) or value.startswith("/"):
        return value
    if scheme(folder) == "file":
        return os.path.abspath(os.path.join(path_in_store(folder), value))
    head, _, path = folder.partition("://")
    return f"{head}://{posixpath.normpath(posixpath.join(path, value))}"


def parent(uri: str) -> str:
    if scheme(uri) == "file":
        return os.path.dirname(path_in_store(uri))
    return uri.rsplit("/", 1)[0]


def path_in_store(uri: str) -> str:
    """`bucket/key`, or an absolute local path."""
    if scheme(uri) != "file":
        return uri.partition("://")[2]
    if SCHEME.match(uri):  # file:// URIs are percent-encoded, as everywhere
        uri = os.fsdecode(unquote_to_bytes(uri.partition("://")[2]))
    return os.path.abspath(uri)


def local_uri(path: str) -> str:
    """A local path as itself; a name that is not UTF-8 as a file:// URI, which any text can hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"file://{quote(os.fsencode(path))}"
    return path


def local_path(value: str) -> Path | None:
    """The path behind a local reference, None for a URI of another store."""
    if scheme(value) != "file":
        return None
    return Path(path_in_store(value)) if SCHEME.match(value) else Path(value)
