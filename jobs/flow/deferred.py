"""Which images could not be had, and since when: what puts an end to trying them night after night."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tlg import store
from tlg.errors import StorageError

FILE = "_deferred/images.parquet"
SCHEMA = pa.schema([("uri", pa.string()), ("put_off_at", pa.float64())])


def load(output: str, access: store.Access) -> dict[str, float]:
    """Address -> when a run first put the image off."""
    try:
        content = store.read(_file(output), access)
    except StorageError as error:
        if error.missing:
            return {}
        raise
    table = pq.ParquetFile(io.BytesIO(content)).read()
    return dict(zip(table["uri"].to_pylist(), table["put_off_at"].to_pylist(), strict=True))


def record(
    output: str,
    uris: Sequence[str],
    is_whole: bool,
    access: store.Access,
    clock: Callable[[], float] = time.time,
) -> None:
    """Remember what this run put off; a run that saw its whole work forgets what it could have after all."""
    before = load(output, access)
    now = clock()
    put_off = {uri: before.get(uri, now) for uri in uris}
    if not is_whole:
        put_off = before | put_off
    if put_off == before:
        return
    stream = io.BytesIO()
    pq.write_table(pa.table({"uri": list(put_off), "put_off_at": list(put_off.values())}, schema=SCHEMA), stream)
    store.write(_file(output), stream.getvalue(), access)


def _file(output: str) -> str:
    return f"{output.rstrip('/')}/{FILE}"
