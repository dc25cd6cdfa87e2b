"""What the two stages of a job need to know, wherever they run, and how its work is parted among them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from jobs.flow.fetch import Fetcher
from jobs.flow.logbook import Notes
from jobs.flow.work import IMAGES_PER_GROUP, Work
from jobs.output.aside import Aside
from tlg import store
from tlg.annotators.protocol import AnnotateParams, BackgroundArrays
from tlg.answers.records import Provenance
from tlg.exemplars import LoadedExemplars
from tlg.spec import AnnotateSpec

R = TypeVar("R")
UNIT_BYTES = 64 * 2**20
FEWEST_UNITS = 32
UNITS_PER_WORKER = 4
SMALLEST_UNIT = 8


@dataclass(frozen=True)
class Stages:
    """Everything the two stages need to know."""

    spec: AnnotateSpec
    exemplars: LoadedExemplars
    params: AnnotateParams
    provenance: Provenance
    access: store.Access
    aside: Aside
    background: BackgroundArrays | None = None

    def fetcher(self, work: Work, notes: Notes) -> Fetcher:
        return Fetcher(work, self.access, self.spec.run.max_pixels, self.spec.run.max_bytes, notes=notes)

    def worker_arguments(self) -> dict[str, Any]:
        """What `jobs.flow.segment.started_worker` needs, but for name, notes and the model."""
        return {
            "exemplars": self.exemplars,
            "params": self.params,
            "provenance": self.provenance,
            "batch_size": self.spec.run.batch_size,
            "aside": self.aside,
            "background": self.background,
        }


class Executor(Protocol):
    """Runs the stages. Whoever runs them, the rows are the same."""

    def receipts(self, work: Work, units: np.ndarray) -> Generator[pa.Table, None, None]:
        """Of the images of some units, in whatever order they are finished; see `jobs.output.aside.RECEIPTS`.

        An image's may come more than once.
        """
        ...

    def call(self, action: Callable[..., R], *arguments: Any) -> R:
        """What the action gives, wherever it is done. It may be begun more than once."""
        ...


def images_per_unit(work: Work, most_workers: int) -> int:
    """A power of two: units are many enough to spread, small enough in bytes, and never cross a group."""
    mean_bytes = max(1, work.total_bytes // max(1, work.count))
    units_wanted = max(FEWEST_UNITS, UNITS_PER_WORKER * most_workers)
    wanted = min(work.count // units_wanted, UNIT_BYTES // mean_bytes, IMAGES_PER_GROUP)
    return 1 << (max(wanted, SMALLEST_UNIT).bit_length() - 1)
