"""Answered images that the collection no longer lists, as the last run found them: `_index/departed.parquet`."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.output import index
from tlg import store
from tlg.errors import StorageError

NAME = "departed.parquet"


def write(output: str, numbers: np.ndarray, access: store.Access) -> None:
    """Replace the list; none is written where there is nothing to say and nothing to take back."""
    if np.array_equal(numbers, read(output, access)):
        return
    stream = io.BytesIO()
    pq.write_table(pa.table({"number": pa.array(numbers, pa.uint64())}), stream, compression="zstd")
    store.write(_uri(output), stream.getvalue(), access)


def read(output: str, access: store.Access) -> np.ndarray:
    """Sorted numbers; none before a run has looked."""
    try:
        return pq.ParquetFile(io.BytesIO(store.read(_uri(output), access))).read()["number"].to_numpy()
    except StorageError as error:
        if not error.missing:
            raise
    except (pa.ArrowException, OSError, KeyError):
        pass  # damaged: the next run writes it again
    return np.zeros(0, np.uint64)


def _uri(output: str) -> str:
    return f"{output.rstrip('/')}/{index.FOLDER}/{NAME}"
