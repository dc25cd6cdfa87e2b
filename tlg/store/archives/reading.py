"""Listing an archive and reading one member, whatever its kind and whichever store it lies in."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import BinaryIO, cast

from tlg.errors import StorageError
from tlg.store import bodies
from tlg.store.archives import parquets, tars, zips
from tlg.store.archives.addresses import parted
from tlg.store.archives.members import BROKEN, Member, Place, damaged
from tlg.store.places import Entry
from tlg.store.protocol import Store, WholeStore
from tlg.store.retry import patiently

OPEN_FILES = 4
# An index is kept in memory for reading by name alone; jobs bring places with them.
INDICES_KEPT = 2


def members(archive: Entry, store: Store) -> Iterator[Member]:
    """What is in the archive, in its order; nothing is unpacked. What cannot be read is a member without a name."""
    file = _opened(archive.uri, store)
    kind = archive.uri.lower().rsplit(".", 1)[1]
    if kind == "parquet":
        yield from parquets.members(file)
    else:
        walk = zips.members if kind == "zip" else tars.members
        yield from walk(cast(io.RawIOBase, file), archive.size)


def read_member(
    uri: str, store: Store, place: Place | None = None, etag: str | None = None, max_bytes: int | None = None
) -> bytes:
    """The bytes of one member. `etag` is the archive's as it was listed: of another version nothing is believed."""
    parts = parted(uri)
    archive = parts[0] if parts else uri
    place = place or _found(uri, store)
    if place.kind == "broken":
        raise damaged(uri, place.problem)
    bodies.refuse_larger(uri, max(place.size, place.stored), max_bytes)
    try:
        return _read(uri, archive, store, place, etag, max_bytes)
    except StorageError as error:
        if error.kind == BROKEN and etag is not None and _stat(archive, store).etag != etag:
            raise StorageError(f"{archive}: replaced since it was listed; run again", transient=True) from None
        raise


def _read(uri: str, archive: str, store: Store, place: Place, etag: str | None, max_bytes: int | None) -> bytes:
    if place.kind == "parquet":
        content = _rows(archive, etag or _stat(archive, store).etag, store).read(uri, place.start)
        bodies.refuse_larger(uri, len(content), max_bytes)
        return content
    read = zips.read if place.kind == "zip" else tars.read

    def part(start: int, length: int) -> bytes:
        return patiently(lambda: store.read_range(archive, start, length), store.access.patience_seconds)

    return read(uri, place, part)


def _found(uri: str, store: Store) -> Place:
    """By the archive's index, which is made anew where it was not asked for lately."""
    parts = parted(uri)
    if parts is None:
        raise damaged(uri, "is an archive; name a member of it, like ARCHIVE#MEMBER")
    archive, name = parts
    if archive.lower().endswith(".parquet"):
        row = name.rpartition("/")[2]
        if not row.isdigit():
            raise StorageError(f"{uri}: rows are called COLUMN/ROW, like image/17", missing=True)
        return Place("parquet", int(row))
    place = _index(_stat(archive, store), store).get(name)
    if place is None:
        raise StorageError(f"{uri}: there is no such member in the archive", missing=True)
    return place


@lru_cache(INDICES_KEPT)
def _index(archive: Entry, store: Store) -> Mapping[str, Place]:
    places: dict[str, Place] = {}
    for member in members(archive, store):
        if member.name:
            places.setdefault(member.name, member.place)
    return places


_lock = threading.Lock()


def _rows(archive: str, etag: str, store: Store) -> parquets.Rows:
    with _lock:
        return _open_rows(archive, etag, store)


@lru_cache(OPEN_FILES)
def _open_rows(archive: str, etag: str, store: Store) -> parquets.Rows:
    return parquets.Rows(archive, _opened(archive, store))


def _stat(archive: str, store: Store) -> Entry:
    return patiently(lambda: store.stat(archive), store.access.patience_seconds)


def _opened(archive: str, store: Store) -> BinaryIO:
    return patiently(lambda: store.open_input(archive), store.access.patience_seconds)


class MemberStore(WholeStore):
    """Members of archives as objects of their own, which are only read."""

    def __init__(self, behind: Store):
        super().__init__(behind.access)
        self._behind = behind

    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        return read_member(uri, self._behind, max_bytes=max_bytes)

    def exists(self, uri: str) -> bool:
        try:
            _found(uri, self._behind)
        except StorageError as error:
            if error.missing:
                return False
            raise
        return True
