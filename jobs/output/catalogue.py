"""All that an output holds, from the indexes of its shards: one pass, which everything else in a run shares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa

from jobs.output import index as indexes
from jobs.output import shards
from jobs.output.identity import NumberSet, is_in
from jobs.output.index import Index
from jobs.output.shards import Shard
from tlg import store

READ_AT_ONCE = 8
NO_NUMBERS = np.zeros(0, np.uint64)


@dataclass
class Catalogue:
    """The indexes of an output's shards, oldest first, and which images of a shard no longer hold.

    `hidden` has the sorted numbers of such images by shard number: a newer shard answers them, or they were left
    out on purpose.
    """

    output: str
    access: store.Access
    shards: list[Index] = field(default_factory=list)
    hidden: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def next_number(self) -> int:
        return self.shards[-1].shard.number + 1 if self.shards else 1

    @property
    def fingerprint(self) -> str:
        """Changes whenever a shard comes, goes or is written again."""
        state = ",".join(f"{index.shard.number}:{index.shard.size}" for index in self.shards)
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def put(self, index: Index) -> None:
        """A shard that was committed or written again; `hide_superseded` when all have come."""
        self.drop(index.shard.number)
        self.shards.append(index)
        self.shards.sort(key=lambda index: index.shard.number)

    def drop(self, number: int) -> None:
        self.shards = [index for index in self.shards if index.shard.number != number]
        self.hidden.pop(number, None)

    def hide_superseded(self) -> None:
        """Of an image in several shards, the newest holds."""
        newer = NumberSet()
        self.hidden = {}
        for index in reversed(self.shards):
            old = newer.has(index.numbers)
            if old.any():
                self.hidden[index.shard.number] = np.unique(index.numbers[old])
            newer.add(index.numbers)

    def leaving_out(self, numbers: np.ndarray) -> Catalogue:
        """The same output without some images."""
        wanted = np.unique(numbers)
        hidden = dict(self.hidden)
        for index in self.shards:
            if (is_wanted := is_in(index.numbers, wanted)).any():
                before = hidden.get(index.shard.number, NO_NUMBERS)
                hidden[index.shard.number] = np.unique(np.concatenate([before, index.numbers[is_wanted]]))
        return replace(self, hidden=hidden)

    def holds(self, index: Index) -> np.ndarray:
        """Which images of a shard hold."""
        return ~is_in(index.numbers, self.hidden.get(index.shard.number, NO_NUMBERS))

    def image_count(self, chosen: Iterable[Index] | None = None) -> int:
        return sum(
            len(index.numbers) - len(self.hidden.get(index.shard.number, NO_NUMBERS))
            for index in (self.shards if chosen is None else chosen)
        )

    def with_images(self, numbers: np.ndarray) -> list[Index]:
        """The shards that hold any of these images."""
        wanted = np.unique(numbers)
        return [index for index in self.shards if (is_in(index.numbers, wanted) & self.holds(index)).any()]

    def tables(self, columns: Sequence[str], chosen: Iterable[Index] | None = None) -> Iterator[pa.Table]:
        """The rows that hold, some at a time, oldest shard first; an image's rows follow each other."""
        needed = list(dict.fromkeys([*columns, "image_id"]))
        for index in self.shards if chosen is None else chosen:
            hidden = self.hidden.get(index.shard.number, NO_NUMBERS)
            if len(hidden) == len(index.numbers):
                continue
            for table in shards.batches(index.shard, needed, self.access):
                yield shards.without(table, hidden)


def load(output: str, access: store.Access = store.DEFAULT_ACCESS, keep: bool = False) -> Catalogue:
    """Read every shard's index; where there is none, the shard itself. `keep` writes the missing ones.

    Only who holds the output's lease may keep them: nobody else knows that a shard will not change.
    """
    output = output.rstrip("/")
    committed = shards.committed(output, access)
    catalogue = Catalogue(output, access)
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        catalogue.shards = list(pool.map(partial(_indexed, output, access, keep), committed))
    catalogue.hide_superseded()
    return catalogue


def _indexed(output: str, access: store.Access, keep: bool, shard: Shard) -> Index:
    index = indexes.read(output, shard, access)
    if index is None:
        index = indexes.build(shard, shards.read(shard, indexes.SOURCE_COLUMNS, access))
        if keep:
            indexes.write(output, index, access)
    return index
