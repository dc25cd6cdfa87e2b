"""Committed answers: numbered Parquet shards that appear whole or not at all.

A commit is one conditional put of `annotations/part-<number>.parquet`: two writers can never both make the
same number, so a fenced-off writer cannot slip a shard between. All rows of an image lie in one shard; where
an image was answered again, its highest-numbered shard holds, and `drop_superseded` removes the older rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.output.lease import Lease
from tlg import store
from tlg.answers import records

FOLDER = "annotations"
# What DuckDB and pandas read best in one go.
ROWS_PER_GROUP = 122_880
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


@dataclass(frozen=True)
class Shard:
    uri: str
    number: int
    size: int


def committed(output: str, access: store.Access = store.DEFAULT_ACCESS) -> list[Shard]:
    """Every committed shard, oldest first."""
    found = store.listed(f"{output.rstrip('/')}/{FOLDER}", "part-*.parquet", access)
    return [Shard(entry.uri, int(entry.uri.rsplit("-", 1)[1].split(".")[0]), entry.size) for entry in found]


def read(shard: Shard, columns: list[str] | None, access: store.Access = store.DEFAULT_ACCESS) -> pa.Table:
    content = store.read(shard.uri, access)
    return pq.read_table(io.BytesIO(content), columns=columns)


def image_numbers(image_ids: pa.ChunkedArray) -> np.ndarray:
    """The first 64 bits of each image id, which tell images apart in little memory."""
    return np.fromiter((int(one[:16], 16) for one in image_ids.to_pylist()), np.uint64, len(image_ids))


def current(
    output: str, access: store.Access = store.DEFAULT_ACCESS, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """The answers that hold, newest shard first, superseded rows left out; one table a shard."""
    needed = None if columns is None else sorted({*columns, "image_id"})
    newer = NumberSet()
    for shard in reversed(committed(output, access)):
        table = read(shard, needed, access)
        numbers = image_numbers(table["image_id"])
        kept = ~newer.has(numbers)
        if kept.any():
            yield table if kept.all() else table.filter(pa.array(kept))
        newer.add(numbers)


class NumberSet:
    """Very many numbers at eight bytes each: sorted runs, of which the last two are merged when of like size."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, numbers: np.ndarray) -> None:
        run = np.unique(numbers)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.unique(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)

    def has(self, numbers: np.ndarray) -> np.ndarray:
        found = np.zeros(len(numbers), bool)
        for run in self._runs:
            found |= is_in(numbers, run)
        return found


def is_in(numbers: np.ndarray, sorted_numbers: np.ndarray) -> np.ndarray:
    """Which numbers occur in a sorted array."""
    if not len(sorted_numbers):
        return np.zeros(len(numbers), bool)
    places = np.minimum(np.searchsorted(sorted_numbers, numbers), len(sorted_numbers) - 1)
    return sorted_numbers[places] == numbers


@dataclass
class ShardWriter:
    """Commits tables of answer rows, one shard each, as long as the lease is held."""

    output: str
    lease: Lease
    next_number: int
    access: store.Access = store.DEFAULT_ACCESS
    # Images that a writer whose lease had run out committed at the last moment; their rows are there already.
    foreign: NumberSet = field(default_factory=NumberSet)

    def commit(self, table: pa.Table) -> int:
        """Make the rows visible; returns how many. Rows of `records.SCHEMA` only."""
        while True:
            table = table.filter(pa.array(~self.foreign.has(image_numbers(table["image_id"]))))
            if not table.num_rows:
                return 0
            self.lease.confirm()
            content = encode(table)
            shard = Shard(self._uri(self.next_number), self.next_number, len(content))
            self.next_number += 1
            if store.create(shard.uri, content, self.access):
                return table.num_rows
            self.lease.confirm()
            intruder = read(shard, ["image_id"], self.access)
            self.foreign.add(image_numbers(intruder["image_id"]))

    def drop_superseded(self) -> int:
        """Rewrite each shard without the rows that a newer shard replaces; returns how many rows went."""
        newer = NumberSet()
        dropped = 0
        for shard in reversed(committed(self.output, self.access)):
            numbers = image_numbers(read(shard, ["image_id"], self.access)["image_id"])
            old = newer.has(numbers)
            newer.add(numbers)
            if not old.any():
                continue
            dropped += int(old.sum())
            self.lease.confirm()
            if old.all():
                store.delete(shard.uri, self.access)
            else:
                rest = read(shard, None, self.access).filter(pa.array(~old))
                store.write(shard.uri, encode(rest), self.access)
        return dropped

    def _uri(self, number: int) -> str:
        return f"{self.output.rstrip('/')}/{FOLDER}/part-{number:08d}.parquet"


def encode(table: pa.Table) -> bytes:
    """A shard's bytes: sorted by image and class, dictionaries where values repeat."""
    table = table.select(records.SCHEMA.names).cast(records.SCHEMA)
    table = table.sort_by([("image_uri", "ascending"), ("class_id", "ascending")])
    stream = io.BytesIO()
    pq.write_table(
        table,
        stream,
        compression="zstd",
        use_dictionary=DICTIONARY_COLUMNS,
        row_group_size=ROWS_PER_GROUP,
        write_statistics=["image_id", "image_uri", "class_name", "class_id", "status", "score", "presence", "area"],
    )
    return stream.getvalue()
