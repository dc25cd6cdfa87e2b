"""Answers on their way into shards: a worker writes their rows aside, in the run's own folder, and gives a receipt.

Receipts are what reaches the driver. It decides which of the rows written aside become which shard, and has them put
there by name, so that rows and masks do not pass through it.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.output import shards
from jobs.output.identity import NumberSet, image_numbers, is_in
from jobs.output.index import Index
from jobs.output.leftovers import delete_if_there
from jobs.output.writer import put_shard
from tlg import store
from tlg.answers import records
from tlg.errors import StorageError

# A row an image. `aside` names the file that holds its rows, which has those of `together` images.
RECEIPTS = pa.schema(
    [
        ("position", pa.int64()),
        ("number", pa.uint64()),
        ("uri", pa.string()),
        ("deferred", pa.bool_()),
        ("rows", pa.int32()),
        ("masks", pa.int32()),
        ("absent", pa.int32()),
        ("error_type", pa.string()),
        ("fetch_seconds", pa.float32()),
        ("decode_seconds", pa.float32()),
        ("segment_seconds", pa.float32()),
        ("aside", pa.string()),
        ("together", pa.int32()),
        ("bytes", pa.int64()),
    ]
)
SECONDS = ("fetch_seconds", "decode_seconds", "segment_seconds")
IMAGE_COLUMNS = ["image_id", "image_uri", "error_type", "position", "rows", "deferred", *SECONDS]


@dataclass(frozen=True)
class Aside:
    """The folder, of one run alone."""

    folder: str
    access: store.Access

    def put(self, answers: pa.Table) -> pa.Table:
        """Write the rows of some images, whose rows lie together, and give their receipts; deferred ones have no rows.

        `answers` are rows with the trace columns of `jobs.flow.segment`.
        """
        positions = answers["position"].to_numpy()
        firsts = np.flatnonzero(np.diff(positions, prepend=positions[:1] - 1))
        rows = answers.filter(pc.invert(answers["deferred"])).select(records.SCHEMA.names)
        # By task and attempt: its first image, and a number that no other attempt has.
        name = f"{positions[0]:012d}-{uuid.uuid4().hex}.parquet" if len(rows) else None
        if name is not None:
            stream = io.BytesIO()
            pq.write_table(rows, stream, compression="zstd", use_dictionary=shards.DICTIONARY_COLUMNS)
            store.write(f"{self.folder}/{name}", stream.getvalue(), self.access)
        images = answers.select(IMAGE_COLUMNS).take(firsts)
        is_image = pc.is_null(answers["part"])
        count = int(pc.sum(pc.invert(images["deferred"])).as_py() or 0)
        columns: dict[str, Any] = {
            "number": image_numbers(images["image_id"]),
            "uri": images["image_uri"],
            "masks": _counted(pc.and_(pc.equal(answers["status"], "mask"), is_image), firsts),
            "absent": _counted(pc.and_(pc.equal(answers["status"], "absent"), is_image), firsts),
            "aside": pc.if_else(images["deferred"], pa.scalar(None, pa.string()), pa.scalar(name, pa.string())),
            "bytes": (images["rows"].to_numpy() * (answers.nbytes / max(1, len(answers)))).astype(np.int64),
        }
        columns |= {column: images[column] for column in RECEIPTS.names if column not in ("together", *columns)}
        columns["together"] = np.full(len(firsts), count)
        return pa.table({column: columns[column] for column in RECEIPTS.names}).cast(RECEIPTS)


@dataclass(frozen=True)
class Taken:
    """Of a file aside the images with these sorted numbers; `is_all` where there are no others in it."""

    uri: str
    numbers: np.ndarray
    is_all: bool


def put_together(
    taken: list[Taken], output: str, number: int, foreign: NumberSet, access: store.Access
) -> Index | None:
    """Make shard `number` of what was written aside; see `jobs.output.writer.put_shard`.

    Called again, after it was cut short, it does no harm: the shard is there then, and that is the answer.
    """
    if store.exists(shards.shard_uri(output, number), access):
        return None
    tables = []
    for shard in taken:
        rows = _read(shard.uri, access)
        numbers = image_numbers(rows["image_id"])
        tables.append(rows.filter(pa.array(is_in(numbers, shard.numbers) & ~foreign.has(numbers))))
    index = put_shard(output, number, pa.concat_tables(tables), access)
    for shard in taken:
        if index is not None and shard.is_all:
            delete_if_there(shard.uri, access)
    return index


def _read(uri: str, access: store.Access) -> pa.Table:
    try:
        return pq.ParquetFile(io.BytesIO(store.read(uri, access))).read().cast(records.SCHEMA)
    except pa.ArrowException as error:
        raise StorageError(f"{uri}: damaged ({error}); run the job again, which answers its images anew") from error


def _counted(chosen: pa.ChunkedArray, firsts: np.ndarray) -> np.ndarray:
    values = pc.fill_null(chosen, False).to_numpy().astype(np.int32)
    return np.add.reduceat(values, firsts) if len(firsts) else values[:0]
