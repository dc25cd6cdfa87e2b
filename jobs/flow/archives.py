"""Archives as part of a collection: which are opened, and what of their members is listed."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from tlg import pictures, store
from tlg.errors import StorageError
from tlg.store.archives import Member, Place
from tlg.store.places import Access, Entry

# Below an output: the indices of tars, which have none of their own and are read to their end for it.
FOLDER = "_archives"
SCHEMA = pa.schema([("name", pa.string()), ("place", pa.string())])
ROWS_AT_ONCE = 20_000
# Version of the file, beside the archive's.
FORMAT = "1"


def images_in(
    archive: Entry,
    access: Access,
    matches: Callable[[str], bool],
    leave_out: Callable[[str, str], None],
    kept_in: str | None = None,
) -> Iterator[Member]:
    """The members that are images, and the archive itself where something of it cannot be read.

    `leave_out` hears of the others. A tar's index is kept in the folder `kept_in`.
    """
    for member in _members(archive, access, kept_in):
        ending = os.path.splitext(member.name)[1].lower()
        if not member.name:
            yield member
        elif not matches(member.name):
            leave_out(archive.uri, "members that do not match the pattern")
        elif member.place.kind != "parquet" and ending not in pictures.EXTENSIONS:
            leave_out(archive.uri, f"{ending} files in archives" if ending else "files without an ending in archives")
        else:
            yield member


def _members(archive: Entry, access: Access, kept_in: str | None) -> Iterator[Member]:
    if kept_in is None or not archive.uri.lower().endswith(".tar"):
        yield from store.members(archive, access)
        return
    place = f"{kept_in}/{hashlib.blake2b(archive.uri.encode(), digest_size=12).hexdigest()}.parquet"
    known = _kept(place, archive.etag, access)
    if known is not None:
        for batch in known.iter_batches(ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield Member(row["name"], Place.of(row["place"]))
        return
    stream = io.BytesIO()
    with pq.ParquetWriter(stream, SCHEMA.with_metadata(_version(archive.etag)), compression="zstd") as writer:
        waiting: list[Member] = []
        for member in store.members(archive, access):
            waiting.append(member)
            if len(waiting) == ROWS_AT_ONCE:
                writer.write_table(_table(waiting))
                waiting = []
            yield member
        writer.write_table(_table(waiting))
    store.write(place, stream.getvalue(), access)


def _table(some: list[Member]) -> pa.Table:
    columns = {"name": [member.name for member in some], "place": [member.place.text() for member in some]}
    return pa.table(columns, schema=SCHEMA)


def _version(etag: str) -> dict[str, str]:
    return {"format": FORMAT, "etag": etag}


def _kept(place: str, etag: str, access: Access) -> pq.ParquetFile | None:
    """The index as it was kept, if it is of this version of the archive."""
    try:
        file = pq.ParquetFile(io.BytesIO(store.read(place, access)))
    except StorageError as error:
        if error.missing:
            return None
        raise
    except pa.ArrowInvalid:
        return None
    metadata = file.schema_arrow.metadata or {}
    wanted = {name.encode(): value.encode() for name, value in _version(etag).items()}
    return file if wanted.items() <= metadata.items() else None
