"""The rows of a manifest file: Parquet, CSV, JSON lines or plain text, read as they are asked for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tlg import store
from tlg.errors import SpecError

# Text manifests are read ahead by this much.
READ_AHEAD_BYTES = 8 * 2**20
ROWS_PER_BATCH = 20_000


def manifest_rows(
    uri: str, wanted: Sequence[str], needed: Sequence[str], access: store.Access
) -> Iterator[dict[str, Any]]:
    """The rows one by one; a column that is not there is not in them, one that is `needed` has to be."""
    name = uri.lower()
    with store.open_input(uri, access) as file:
        try:
            if name.endswith((".parquet", ".pq")):
                yield from _parquet_rows(uri, pq.ParquetFile(file), wanted, needed)
            elif name.endswith((".csv", ".tsv")):
                yield from _csv_rows(uri, _text(file), "\t" if name.endswith(".tsv") else ",", wanted, needed)
            elif name.endswith((".jsonl", ".ndjson", ".json")):
                yield from _json_rows(uri, _text(file), wanted, needed)
            elif name.endswith(".txt"):
                _require(uri, needed, ["uri"])
                yield from ({"uri": line.strip()} for line in _text(file) if line.strip())
            else:
                raise SpecError(f"{uri}: unknown kind of manifest; expected .parquet, .csv, .tsv, .jsonl or .txt")
        except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
            raise SpecError(f"{uri}: cannot be read as a manifest: {' '.join(str(error).split())}") from None


def _text(file: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(cast(io.RawIOBase, file), READ_AHEAD_BYTES), "utf-8-sig", newline="")


def _require(uri: str, needed: Sequence[str], there: Sequence[str]) -> None:
    for name in needed:
        if name not in there:
            raise SpecError(f"{uri}: no column '{name}'; it has {', '.join(there)}")


def _parquet_rows(
    uri: str, file: pq.ParquetFile, wanted: Sequence[str], needed: Sequence[str]
) -> Iterator[dict[str, Any]]:
    there = file.schema_arrow.names
    _require(uri, needed, there)
    for batch in file.iter_batches(ROWS_PER_BATCH, columns=[name for name in wanted if name in there]):
        yield from batch.to_pylist()


def _csv_rows(
    uri: str, text: io.TextIOWrapper, separator: str, wanted: Sequence[str], needed: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Every cell is text: an etag of 00123 stays 00123, whatever the cells above it look like."""
    reader = csv.reader(text, delimiter=separator, strict=True)
    header = next(reader, [])
    _require(uri, needed, header)
    places = {name: header.index(name) for name in wanted if name in header}
    for cells in reader:
        if not cells:
            continue  # an empty line
        if len(cells) != len(header):
            raise SpecError(f"{uri}: line {reader.line_num} has {len(cells)} cells, the header has {len(header)}")
        yield {name: cells[place] for name, place in places.items()}


def _json_rows(
    uri: str, text: io.TextIOWrapper, wanted: Sequence[str], needed: Sequence[str]
) -> Iterator[dict[str, Any]]:
    columns: list[str] | None = None
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SpecError(f"{uri}: line {number} is not JSON: {error}; expected one object a line") from None
        if not isinstance(row, dict):
            raise SpecError(f"{uri}: line {number} is a {type(row).__name__}; expected one object a line")
        if columns is None:
            _require(uri, needed, list(row))
            columns = [name for name in wanted if name in row]
        yield {name: row.get(name) for name in columns}
