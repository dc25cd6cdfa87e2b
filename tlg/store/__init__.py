"""One way to open, list and commit, whatever the store: the scheme of an address chooses it (registry.py).

Every call tries again while its store may recover, by one policy (retry.py), for `Access.patience_seconds` at most;
every failure is a StorageError (failures.py). Credentials come from the environment, as each provider's tools define
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from wcmatch import glob

from tlg.errors import StorageError
from tlg.store import archives
from tlg.store.local import local_state
from tlg.store.places import DEFAULT_ACCESS, Access, Entry, join, local_path, parent, path_in_store, scheme
from tlg.store.protocol import LeftOut, Store
from tlg.store.registry import store_of
from tlg.store.retry import patiently
from tlg.store.s3 import s3_client

__all__ = [
    "DEFAULT_ACCESS",
    "Access",
    "Entry",
    "LeftOut",
    "Store",
    "create",
    "delete",
    "delete_folder",
    "entries",
    "exists",
    "is_folder",
    "join",
    "listed",
    "local_path",
    "local_state",
    "matcher",
    "members",
    "open_input",
    "parent",
    "path_in_store",
    "read",
    "read_member",
    "read_range",
    "read_text",
    "s3_client",
    "scheme",
    "size",
    "stat",
    "upload",
    "write",
]
EVERYTHING = ("**", "**/*")


def read(uri: str, access: Access = DEFAULT_ACCESS, max_bytes: int | None = None) -> bytes:
    """The whole object; one of more than `max_bytes` is refused with kind `too_large` before it is read."""
    store = store_of(uri, access)
    return patiently(lambda: store.read(uri, max_bytes), access.patience_seconds)


def read_range(uri: str, start: int, length: int, access: Access = DEFAULT_ACCESS) -> bytes:
    """The bytes at `start` to `start + length`; fewer, or none, where the object ends before."""
    store = store_of(uri, access)
    return patiently(lambda: store.read_range(uri, start, length), access.patience_seconds) if length else b""


def open_input(uri: str, access: Access = DEFAULT_ACCESS) -> BinaryIO:
    """A seekable file that reads only the ranges it is asked for, as pyarrow.parquet does."""
    store = store_of(uri, access)
    return patiently(lambda: store.open_input(uri), access.patience_seconds)


def read_text(uri: str, access: Access = DEFAULT_ACCESS) -> str:
    try:
        return read(uri, access).decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{uri}: not UTF-8 text: {error}") from None


def stat(uri: str, access: Access = DEFAULT_ACCESS) -> Entry:
    """The object's version and size, without its bytes."""
    store = store_of(uri, access)
    return patiently(lambda: store.stat(uri), access.patience_seconds)


def members(archive: Entry, access: Access = DEFAULT_ACCESS) -> Iterator[archives.Member]:
    """What is in a zip, tar or Parquet file, in its order, by its index alone."""
    return archives.members(archive, store_of(archive.uri, access))


def read_member(
    uri: str, place: archives.Place, etag: str | None, access: Access = DEFAULT_ACCESS, max_bytes: int | None = None
) -> bytes:
    """A member's bytes from where `members` found it, or the reason why it or its archive cannot be read."""
    parts = archives.parted(uri)
    store = store_of(parts[0] if parts else uri, access)
    return archives.read_member(uri, store, place, etag, max_bytes)


def size(uri: str, access: Access = DEFAULT_ACCESS) -> int:
    store = store_of(uri, access)
    return patiently(lambda: store.size(uri), access.patience_seconds)


def exists(uri: str, access: Access = DEFAULT_ACCESS) -> bool:
    store = store_of(uri, access)
    return patiently(lambda: store.exists(uri), access.patience_seconds)


def is_folder(uri: str, access: Access = DEFAULT_ACCESS) -> bool:
    store = store_of(uri, access)
    return patiently(lambda: store.is_folder(uri), access.patience_seconds)


def write(uri: str, content: bytes, access: Access = DEFAULT_ACCESS) -> None:
    """Replace the object as a whole: readers see the old content or the new, never a part."""
    store = store_of(uri, access)
    patiently(lambda: store.write(uri, content), access.patience_seconds)


def upload(file: Path, uri: str, access: Access = DEFAULT_ACCESS) -> None:
    """A local file of any size, stored as a whole like `write`."""
    store = store_of(uri, access)
    patiently(lambda: store.upload(file, uri), access.patience_seconds)


def create(uri: str, content: bytes, access: Access = DEFAULT_ACCESS) -> bool:
    """Write only if nothing is there; False if something is. Atomic, or refused by the store."""
    store = store_of(uri, access)
    may_be_ours = False

    def attempt() -> bool:
        nonlocal may_be_ours
        try:
            return store.create(uri, content)
        except StorageError:
            may_be_ours = True
            raise

    if patiently(attempt, access.patience_seconds):
        return True
    # An attempt whose answer was lost may have written what the next attempt then found.
    return may_be_ours and read(uri, access) == content


def delete(uri: str, access: Access = DEFAULT_ACCESS) -> None:
    store = store_of(uri, access)
    patiently(lambda: store.delete(uri), access.patience_seconds)


def delete_folder(uri: str, access: Access = DEFAULT_ACCESS) -> None:
    """Remove everything below `uri`; nothing there is no error."""
    store = store_of(uri, access)
    patiently(lambda: store.delete_folder(uri), access.patience_seconds)


def listed(folder: str, pattern: str, access: Access = DEFAULT_ACCESS) -> list[Entry]:
    """`entries` sorted by name, for the product's own small folders; a folder that is not there is empty."""
    try:
        return sorted(entries(folder, pattern, access), key=lambda entry: entry.uri)
    except StorageError as error:
        if error.missing:
            return []
        raise


def entries(
    folder: str,
    pattern: str = "**/*",
    access: Access = DEFAULT_ACCESS,
    left_out: LeftOut = lambda uri, reason: None,
) -> Iterator[Entry]:
    """Everything below `folder` that matches, streamed in the store's order; `left_out` hears of what is not."""
    matches = matcher(pattern)
    for name, entry in store_of(folder, access).entries(folder, left_out):
        if matches(name):
            yield entry


def matcher(pattern: str) -> Callable[[str], bool]:
    """`**/` spans folders (none included), `*` and `?` stay inside one; `{a,b}` and `[a-z]` give alternatives."""
    if pattern in EVERYTHING:
        return lambda name: True
    return glob.compile(pattern, flags=glob.GLOBSTAR | glob.BRACE | glob.DOTGLOB | glob.CASE).match
