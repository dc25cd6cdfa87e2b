"""Units of work as a Ray Data source: one read task fetches and decodes one unit."""

from __future__ import annotations

from functools import partial

import numpy as np
from ray.data import DataContext, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from jobs.flow.fetch import PIXEL_SCHEMA, Fetcher


class UnitSource(Datasource):
    """Every unit (start, count) becomes a task, whatever parallelism Ray Data would have chosen."""

    def __init__(self, fetcher: Fetcher, units: np.ndarray):
        self._fetcher, self._units = fetcher, units

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        return [
            ReadTask(
                partial(self._fetcher.fetch, int(start), int(count)),
                BlockMetadata(num_rows=int(count), size_bytes=None, input_files=None, exec_stats=None),
                PIXEL_SCHEMA,
                per_task_row_limit,
            )
            for start, count in self._units
        ]
