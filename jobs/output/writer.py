"""The one writer of an output: commits shards, and writes a shard again without the images that went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from jobs.output import index as indexes
from jobs.output import shards
from jobs.output.catalogue import Catalogue
from jobs.output.identity import NumberSet, image_numbers
from jobs.output.index import Index
from jobs.output.lease import Lease
from jobs.output.leftovers import delete_if_there
from jobs.output.shards import Shard
from tlg import store


class Rows(Protocol):
    """Answers that are to become a shard, wherever they lie."""

    @property
    def numbers(self) -> np.ndarray:
        """Of their images."""
        ...

    def put(self, output: str, number: int, foreign: NumberSet, access: store.Access) -> Index | None:
        """Make shard `number` of all but the foreign images' rows; see `put_shard`."""
        ...


@dataclass(frozen=True)
class TableRows:
    """Rows that are here."""

    table: pa.Table

    @property
    def numbers(self) -> np.ndarray:
        return image_numbers(self.table["image_id"])

    def put(self, output: str, number: int, foreign: NumberSet, access: store.Access) -> Index | None:
        return put_shard(output, number, self.table.filter(pa.array(~foreign.has(self.numbers))), access)


def put_shard(output: str, number: int, table: pa.Table, access: store.Access) -> Index | None:
    """Create the shard of some rows, then its index; None where there is a shard of this number already."""
    ordered = shards.in_order(table)
    content = shards.encode(ordered)
    shard = Shard(shards.shard_uri(output, number), number, len(content))
    if not store.create(shard.uri, content, access):
        return None
    index = indexes.build(shard, ordered)
    indexes.write(output, index, access)
    return index


@dataclass
class ShardWriter:
    """Commits tables of answer rows, one shard each, as long as the lease is held; the catalogue follows."""

    catalogue: Catalogue
    lease: Lease
    # Images that a writer whose lease had run out committed at the last moment; their rows are there already.
    foreign: NumberSet = field(default_factory=NumberSet)

    def __post_init__(self) -> None:
        self._next_number = self.catalogue.next_number

    def commit(self, rows: pa.Table | Rows) -> int:
        """Make the rows visible; returns how many. Rows of `records.SCHEMA` only, images whole."""
        output, access = self.catalogue.output, self.catalogue.access
        rows = TableRows(rows) if isinstance(rows, pa.Table) else rows
        while (~self.foreign.has(rows.numbers)).any():
            self.lease.confirm()
            number = self._next_number
            self._next_number += 1
            index = rows.put(output, number, self.foreign, access)
            if index is not None:
                self.catalogue.put(index)
                return index.rows
            self.lease.confirm()
            intruder = next(shard for shard in shards.committed(output, access) if shard.number == number)
            there = shards.read(intruder, indexes.SOURCE_COLUMNS, access)
            self._keep(indexes.build(intruder, there))
            if there["run_id"].unique().to_pylist() == [self.lease.run_id]:
                return len(there)  # our own put, whose answer was lost
            self.foreign.add(image_numbers(there["image_id"]))
        return 0

    def drop_superseded(self) -> int:
        """Write each shard again without the rows that a newer shard replaces; returns how many rows went."""
        self.catalogue.hide_superseded()
        self._sweep_indexes()
        return self._drop(dict(self.catalogue.hidden))

    def drop_images(self, numbers: np.ndarray) -> int:
        """Remove every row of some images; returns how many rows went."""
        return self._drop(dict(self.catalogue.leaving_out(numbers).hidden))

    def _drop(self, hidden: dict[int, np.ndarray]) -> int:
        dropped = 0
        for index in list(self.catalogue.shards):
            if (numbers := hidden.get(index.shard.number)) is not None:
                dropped += self._write_without(index, numbers)
        return dropped

    def _write_without(self, index: Index, numbers: np.ndarray) -> int:
        """Between the old shard and the new there is no index at all, so a kill in between leaves none that lies."""
        output, access, shard = self.catalogue.output, self.catalogue.access, index.shard
        self.lease.confirm()
        delete_if_there(indexes.index_uri(output, shard.number), access)
        rest = shards.without(shards.read(shard, None, access), numbers) if len(numbers) < len(index.numbers) else None
        if rest is None or not len(rest):
            store.delete(shard.uri, access)
            self.catalogue.drop(shard.number)
            return index.rows
        ordered = shards.in_order(rest)
        content = shards.encode(ordered)
        store.write(shard.uri, content, access)
        self._keep(indexes.build(Shard(shard.uri, shard.number, len(content)), ordered))
        return index.rows - len(rest)

    def _keep(self, index: Index) -> None:
        indexes.write(self.catalogue.output, index, self.catalogue.access)
        self.catalogue.put(index)

    def _sweep_indexes(self) -> None:
        """Indexes whose shard went while its writer was killed."""
        known = {shards.shard_name(index.shard.number) for index in self.catalogue.shards}
        folder = f"{self.catalogue.output.rstrip('/')}/{indexes.FOLDER}"
        for entry in store.listed(folder, "part-*.parquet", self.catalogue.access):
            if entry.uri.rsplit("/", 1)[1] not in known:
                delete_if_there(entry.uri, self.catalogue.access)
