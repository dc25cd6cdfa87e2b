"""The one writer of an output: commits shards, and writes a shard again without the images that went."""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass
class ShardWriter:
    """Commits tables of answer rows, one shard each, as long as the lease is held; the catalogue follows."""

    catalogue: Catalogue
    lease: Lease
    # Images that a writer whose lease had run out committed at the last moment; their rows are there already.
    foreign: NumberSet = field(default_factory=NumberSet)

    def __post_init__(self) -> None:
        self._next_number = self.catalogue.next_number

    def commit(self, table: pa.Table) -> int:
        """Make the rows visible; returns how many. Rows of `records.SCHEMA` only, images whole."""
        output, access = self.catalogue.output, self.catalogue.access
        while True:
            table = table.filter(pa.array(~self.foreign.has(image_numbers(table["image_id"]))))
            if not table.num_rows:
                return 0
            self.lease.confirm()
            ordered = shards.in_order(table)
            content = shards.encode(ordered)
            shard = Shard(shards.shard_uri(output, self._next_number), self._next_number, len(content))
            self._next_number += 1
            if store.create(shard.uri, content, access):
                self._keep(indexes.build(shard, ordered))
                return table.num_rows
            self.lease.confirm()
            there = shards.read(shard, indexes.SOURCE_COLUMNS, access)
            intruder = next(one for one in shards.committed(output, access) if one.number == shard.number)
            self._keep(indexes.build(intruder, there))
            if there["run_id"].unique().to_pylist() == [self.lease.run_id]:
                return len(there)  # our own put, whose answer was lost
            self.foreign.add(image_numbers(there["image_id"]))

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
        known = {shards.shard_name(one.shard.number) for one in self.catalogue.shards}
        folder = f"{self.catalogue.output.rstrip('/')}/{indexes.FOLDER}"
        for entry in store.listed(folder, "part-*.parquet", self.catalogue.access):
            if entry.uri.rsplit("/", 1)[1] not in known:
                delete_if_there(entry.uri, self.catalogue.access)
