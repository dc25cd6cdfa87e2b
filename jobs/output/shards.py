"""Committed answers: numbered Parquet shards that appear whole or not at all.

A commit is one conditional put of `annotations/part-<number>.parquet`: two writers can never both make the
same number, so a fenced-off writer cannot slip a shard between. All rows of an image lie in one shard; where
an image was answered again, its highest-numbered shard holds.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.output.identity import NumberSet, image_numbers, is_in
from tlg import store
from tlg.answers import records
from tlg.errors import StorageError

log = logging.getLogger(__name__)

FOLDER = "annotations"
NAME = re.compile(r"part-(\d{8,})\.parquet")
# What DuckDB and pandas read best in one go.
ROWS_PER_GROUP = 122_880
# Rows are turned into Python objects, or masks into JSON, so many at a time.
ROWS_AT_ONCE = 20_000
DICTIONARY_COLUMNS = [
    "class_name",
    "class_id",
    "status",
    "error_type",
    "model_digest",
    "exemplars_digest",
    "params_digest",
    "run_id",
]
STATISTICS_COLUMNS = ["image_id", "image_uri", "class_name", "class_id", "status", "score", "presence", "area"]


@dataclass(frozen=True)
class Shard:
    uri: str
    number: int
    size: int


def shard_name(number: int) -> str:
    return f"part-{number:08d}.parquet"


def shard_uri(output: str, number: int) -> str:
    return f"{output.rstrip('/')}/{FOLDER}/{shard_name(number)}"


def committed(output: str, access: store.Access = store.DEFAULT_ACCESS) -> list[Shard]:
    """Every committed shard, oldest first."""
    return committed_in(f"{output.rstrip('/')}/{FOLDER}", access)


def committed_in(folder: str, access: store.Access = store.DEFAULT_ACCESS) -> list[Shard]:
    """Files named like shards, oldest first. Other Parquet files are left alone, with a word."""
    own, foreign = [], []
    for entry in store.listed(folder, "*.parquet", access):
        name = entry.uri.rsplit("/", 1)[1]
        if match := NAME.fullmatch(name):
            own.append(Shard(entry.uri, int(match.group(1)), entry.size))
        else:
            foreign.append(name)
    if foreign:
        log.warning(
            "%s: ignored %s: a shard is named like %s; move what is not one to another folder",
            folder,
            ", ".join(foreign[:5]),
            shard_name(1),
        )
    return sorted(own, key=lambda shard: shard.number)


def read(shard: Shard, columns: Sequence[str] | None, access: store.Access = store.DEFAULT_ACCESS) -> pa.Table:
    """A shard's rows; of some columns only those columns' bytes are fetched."""
    with _opened(shard, columns, access) as file:
        return _with_added(file.read(columns=None if columns is None else list(columns)), columns)


def batches(
    shard: Shard, columns: Sequence[str], access: store.Access = store.DEFAULT_ACCESS, rows: int = ROWS_AT_ONCE
) -> Iterator[pa.Table]:
    """Like `read`, some rows at a time: the memory does not grow with the shard."""
    with _opened(shard, columns, access) as file:
        for batch in file.iter_batches(rows, columns=list(columns)):
            yield _with_added(pa.Table.from_batches([batch]), columns)


def _with_added(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """With the columns, null, that the version which wrote the shard did not know."""
    for name in records.ADDED_COLUMNS:
        if name not in table.column_names and (columns is None or name in columns):
            nothing = pa.nulls(len(table), records.SCHEMA.field(name).type)
            table = table.append_column(records.SCHEMA.field(name), nothing)
    return table


def current(
    output: str, access: store.Access = store.DEFAULT_ACCESS, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The answers that hold, newest shard first, superseded rows left out; one table a shard."""
    needed = None if columns is None else sorted({*columns, "image_id"})
    newer = NumberSet()
    for shard in reversed(committed(output, access)):
        table = read(shard, needed, access)
        numbers = image_numbers(table["image_id"])
        is_newest = ~newer.has(numbers)
        if is_newest.any():
            yield table if is_newest.all() else table.filter(pa.array(is_newest))
        newer.add(numbers)


def without(table: pa.Table, numbers: np.ndarray) -> pa.Table:
    """The rows of all images but these; `numbers` is sorted."""
    if not len(numbers):
        return table
    return table.filter(pa.array(~is_in(image_numbers(table["image_id"]), numbers)))


def in_order(table: pa.Table) -> pa.Table:
    """Rows as a shard holds them: the schema's columns, sorted by image and class, the class before its parts."""
    table = table.select(records.SCHEMA.names).cast(records.SCHEMA)
    table = table.append_column("order", pc.fill_null(table["part"], 0))
    keys = [("image_uri", "ascending"), ("class_id", "ascending"), ("order", "ascending")]
    return table.sort_by(keys).drop_columns(["order"])


def encode(ordered: pa.Table) -> bytes:
    """A shard's bytes: dictionaries where values repeat, a checksum on every page."""
    stream = io.BytesIO()
    pq.write_table(
        ordered,
        stream,
        compression="zstd",
        use_dictionary=DICTIONARY_COLUMNS,
        row_group_size=ROWS_PER_GROUP,
        write_statistics=STATISTICS_COLUMNS,
        write_page_checksum=True,
    )
    return stream.getvalue()


@contextmanager
def _opened(shard: Shard, columns: Sequence[str] | None, access: store.Access) -> Iterator[pq.ParquetFile]:
    """pyarrow's reader of a shard; what it complains about names the file and the way out."""
    # All columns are one request, some of them are ranges.
    source = io.BytesIO(store.read(shard.uri, access)) if columns is None else store.open_input(shard.uri, access)
    try:
        with source:
            file = pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True)
            needed = set(records.SCHEMA.names if columns is None else columns) - set(records.ADDED_COLUMNS)
            if missing := needed - set(file.schema_arrow.names):
                raise pa.ArrowInvalid(f"no column {', '.join(sorted(missing))}")
            yield file
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{shard.uri}: damaged or not a shard of answers ({' '.join(str(error).split())}); "
            "move it out of the folder and run the job again, which answers its images anew"
        ) from error
