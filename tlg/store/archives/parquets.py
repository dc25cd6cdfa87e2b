"""Parquet with image bytes in its rows: a column of binary values, or of structs with `bytes` (Hugging Face's layout).

A row is read with its row group's column, value after value; the last few are kept, so that a run that goes through a
file reads it once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tlg.store.archives.members import Member, Place, broken, damaged

# Beside a binary column of one of these names no other is taken for pictures.
USUAL_NAMES = ("image", "img", "jpg", "png", "bytes", "content")
# A row group's column that takes more, unpacked, is not read.
LARGEST_GROUP_BYTES = 2 * 2**30
ROWS_AT_ONCE = 8
ROWS_KEPT, BYTES_KEPT = 64, 64 * 2**20
# What a Parquet library raises over bytes that are not what the footer says.
ERRORS = (pa.ArrowException, OSError, ValueError, EOFError)


def members(file: BinaryIO) -> Iterator[Member]:
    """Every row, called `COLUMN/ROW`; a row without a picture is found empty when it is read."""
    try:
        parquet = pq.ParquetFile(file)
    except ERRORS as error:
        yield broken(f"no readable index at its end ({_brief(error)}); nothing of it can be read, write it anew")
        return
    column = image_column(parquet.schema_arrow)
    if column is None:
        names = ", ".join(parquet.schema_arrow.names[:20])
        yield broken(
            f"no column with image bytes; it has {names}; expected a binary column called image, or structs with bytes"
        )
        return
    for row in range(parquet.metadata.num_rows):
        yield Member(f"{column.partition('.')[0]}/{row}", Place("parquet", row))


def image_column(schema: pa.Schema) -> str | None:
    """The path of the column with the pictures' bytes: a usual name before others, else the only one."""
    paths = [path for path in map(_bytes_path, schema) if path is not None]
    for name in USUAL_NAMES:
        for path in paths:
            if path.partition(".")[0].lower() == name:
                return path
    return paths[0] if len(paths) == 1 else None


def _bytes_path(field: pa.Field) -> str | None:
    if _is_binary(field.type):
        return field.name
    if pa.types.is_struct(field.type):
        at = field.type.get_field_index("bytes")
        if at >= 0 and _is_binary(field.type.field(at).type):
            return f"{field.name}.bytes"
    return None


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


class Rows:
    """The picture column of one file, read forward; rows a little behind are still there."""

    def __init__(self, uri: str, file: BinaryIO):
        self._uri, self._lock = uri, threading.Lock()
        try:
            self._parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 18)
        except ERRORS as error:
            raise damaged(uri, f"no readable index at its end ({_brief(error)}); write it anew") from None
        path = image_column(self._parquet.schema_arrow)
        if path is None:
            raise damaged(uri, "no column with image bytes")
        self._path = path
        metadata = self._parquet.metadata
        counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = [sum(counts[:group]) for group in range(len(counts) + 1)]
        self._kept: OrderedDict[int, bytes | None] = OrderedDict()
        self._coming: Iterator[tuple[int, bytes | None]] | None = None
        self._group = self._next = -1
        self._kept_bytes = 0

    def read(self, uri: str, row: int) -> bytes:
        with self._lock:
            if row not in self._kept:
                self._read_up_to(uri, row)
            content = self._kept[row]
        if content is None:
            raise damaged(uri, "the row has no image bytes")
        return content

    def _read_up_to(self, uri: str, row: int) -> None:
        if not 0 <= row < self._starts[-1]:
            raise damaged(uri, f"no such row; the file has {self._starts[-1]:,}")
        group = next(group for group, start in enumerate(self._starts[1:]) if row < start)
        if self._coming is None or self._group != group or self._next > row:
            self._check_size(uri, group)
            self._coming, self._group, self._next = self._from(group), group, self._starts[group]
        try:
            while self._next <= row:
                self._next, content = next(self._coming)
                self._keep(self._next, content)
                self._next += 1
        except (*ERRORS, StopIteration) as error:
            self._coming = None
            raise damaged(uri, f"damaged, its row group cannot be read: {_brief(error)}") from None

    def _keep(self, row: int, content: bytes | None) -> None:
        self._kept_bytes -= len(self._kept.pop(row, None) or b"")
        self._kept[row] = content
        self._kept_bytes += len(content or b"")
        while len(self._kept) > 1 and (len(self._kept) > ROWS_KEPT or self._kept_bytes > BYTES_KEPT):
            self._kept_bytes -= len(self._kept.popitem(last=False)[1] or b"")

    def _from(self, group: int) -> Iterator[tuple[int, bytes | None]]:
        row = self._starts[group]
        batches = self._parquet.iter_batches(ROWS_AT_ONCE, [group], columns=[self._path], use_threads=False)
        for batch in batches:
            column: Any = batch.column(0)
            values = column.field("bytes") if pa.types.is_struct(column.type) else column
            for value in values:
                yield row, value.as_py()
                row += 1

    def _check_size(self, uri: str, group: int) -> None:
        metadata = self._parquet.metadata.row_group(group)
        for number in range(metadata.num_columns):
            column = metadata.column(number)
            if column.path_in_schema == self._path and column.total_uncompressed_size > LARGEST_GROUP_BYTES:
                raise damaged(
                    uri,
                    f"its row group unpacks to {column.total_uncompressed_size:,} bytes, at most"
                    f" {LARGEST_GROUP_BYTES:,} are read; write the file with fewer rows in a group",
                )


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
