"""`quarantine/errors.parquet`: every image whose current row is an error."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.output import shards
from jobs.output.catalogue import Catalogue
from jobs.output.identity import image_numbers
from tlg import store
from tlg.answers import records
from tlg.errors import StorageError

FOLDER = "quarantine"
# An error row has no mask, so the columns that are large stay where they are.
COLUMNS = [name for name in records.SCHEMA.names if name not in ("rle", "bbox")]


def uri(output: str) -> str:
    return f"{output.rstrip('/')}/{FOLDER}/errors.parquet"


def write(catalogue: Catalogue) -> int:
    """Bring the file up to date; returns how many images it names. Rows that it has already are not read again."""
    wanted = _wanted(catalogue)
    before = read(catalogue.output, catalogue.access)
    keys = list(zip(image_numbers(before["image_id"]).tolist(), before["run_id"].to_pylist(), strict=True))
    remaining = before.filter(pa.array([key in wanted for key in keys], pa.bool_()))
    missing = wanted - set(keys)
    if wanted and not missing and len(remaining) == len(before):
        return len(before)
    tables = [remaining]
    numbers = np.asarray(sorted({number for number, _ in missing}), np.uint64)
    for table in catalogue.tables(COLUMNS, catalogue.with_images(numbers)):
        failed = table.filter(pc.equal(table["status"], "error"))
        is_missing = np.isin(image_numbers(failed["image_id"]), numbers)
        tables.append(_whole(failed.filter(pa.array(is_missing))))
    rows = pa.concat_tables(tables)
    place = uri(catalogue.output)
    if len(rows):
        store.write(place, shards.encode(shards.in_order(rows)), catalogue.access)
    elif store.exists(place, catalogue.access):
        store.delete(place, catalogue.access)
    return len(rows)


def read(output: str, access: store.Access) -> pa.Table:
    """What the file names; nothing where there is none or none that can be read, which `write` then mends."""
    try:
        table = pq.ParquetFile(io.BytesIO(store.read(uri(output), access))).read()
        return table.select(records.SCHEMA.names).cast(records.SCHEMA)
    except StorageError as error:
        if not error.missing:
            raise
    except (pa.ArrowException, OSError, KeyError):
        pass
    return records.SCHEMA.empty_table()


def _wanted(catalogue: Catalogue) -> set[tuple[int, str]]:
    """(image, run) of every error that holds."""
    wanted: set[tuple[int, str]] = set()
    for index in catalogue.shards:
        failed = np.flatnonzero(index.is_error & catalogue.holds(index))
        for place in failed.tolist():
            wanted.add((int(index.numbers[place]), index.origins[index.origin[place]].run_id))
    return wanted


def _whole(table: pa.Table) -> pa.Table:
    """Error rows with the columns that were left out."""
    columns = {
        name: table[name] if name in COLUMNS else pa.nulls(len(table), records.SCHEMA.field(name).type)
        for name in records.SCHEMA.names
    }
    return pa.table(columns).cast(records.SCHEMA)
