"""The second stage, on the model's workers: pixels -> answer rows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.flow import logbook
from jobs.flow.fetch import Fetched, from_table
from jobs.flow.logbook import Logbook, Notes
from jobs.output.aside import Aside
from tlg.allocation import give_freed_memory_back, keep_freed_memory
from tlg.annotators.memory import annotate_within_memory
from tlg.annotators.protocol import AnnotateParams, BackgroundArrays
from tlg.annotators.registry import annotator_of, load_model
from tlg.annotators.tiled import TiledModel
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance
from tlg.errors import ClusterError, InputError
from tlg.exemplars import LoadedExemplars

# Besides the answer's own columns, each row says where it belongs and what it cost, for the receipt.
TRACE_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("rows", pa.int32()),  # of this image
        ("deferred", pa.bool_()),
        ("fetch_seconds", pa.float32()),
        ("decode_seconds", pa.float32()),
        ("segment_seconds", pa.float32()),
    ]
)
# Rows of one file aside, which are put together in memory.
TABLE_BYTES = 16 * 2**20
STAGE = "segment"
# So much work is noted at once, which is begun again where the process dies, and no more images than these.
NOTED_SECONDS, NOTED_IMAGES = 0.5, 256
# Of so many on, memory counts for more than time while they are loaded: half the time, and a quarter of a gigabyte for
# 200 of them.
MANY_EXEMPLARS = 500


class Segmenter:
    """A worker of the pool: one annotator, its exemplars encoded once."""

    def __init__(
        self,
        model: TiledModel,
        exemplars: LoadedExemplars,
        params: AnnotateParams,
        provenance: Provenance,
        batch_size: int,
        notes: Notes | None = None,
        background: BackgroundArrays | None = None,
    ):
        self.annotator = annotator_of(model, exemplars, params, background)
        self.provenance = provenance
        self.batch_size = batch_size
        self.notes = notes or Logbook()
        self._noted_at_once = batch_size

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """The answers to a table of pictures, in tables of bounded size that have whole images."""
        yield from cut_between_images(self._answers(table), TABLE_BYTES)

    def _answers(self, table: pa.Table) -> pa.Table:
        rows: list[ImageAnswers] = []
        traces: list[tuple[float, ...]] = []
        fetched = from_table(table)
        readable = [image for image in fetched if image.picture is not None]
        for image in fetched:
            if image.picture is None:
                rows.append(ImageAnswers(image.uri, image.etag, (), image.error_type, image.error_message))
                traces += _trace(image, 0.0, 1)
        while readable:
            noted, readable = readable[: self._noted_at_once], readable[self._noted_at_once :]
            by_position = {image.position: image for image in noted}
            began = time.perf_counter()
            for turn in logbook.turns(self.notes, STAGE, list(by_position)):
                for start in range(0, len(turn.positions), self.batch_size):
                    taken = [by_position[position] for position in turn.positions[start : start + self.batch_size]]
                    self._answer(taken, turn.is_fatal, rows, traces)
            self._note_next((time.perf_counter() - began) / len(noted))
        answers = records.to_table(rows, self.provenance)
        trace = np.asarray(traces, np.float64).reshape(-1, len(TRACE_SCHEMA))
        for column, schema_field in enumerate(TRACE_SCHEMA):
            answers = answers.append_column(schema_field, pa.array(trace[:, column]).cast(schema_field.type))
        return answers

    def _answer(
        self, taken: list[Fetched], is_fatal: bool, rows: list[ImageAnswers], traces: list[tuple[float, ...]]
    ) -> None:
        """Adds the rows of a batch, and what they cost."""
        began = time.perf_counter()
        results = [_fatal()] * len(taken) if is_fatal else self._annotated(taken)
        seconds = (time.perf_counter() - began) / len(taken)
        for image, result in zip(taken, results, strict=True):
            if isinstance(result, InputError):
                rows.append(ImageAnswers(image.uri, image.etag, (), result.kind, str(result)))
                traces += _trace(image, seconds, 1)
            else:
                rows.append(ImageAnswers(image.uri, image.etag, result))
                traces += _trace(image, seconds, records.row_count(result))

    def _note_next(self, seconds_per_image: float) -> None:
        """A note costs a message to the logbook's process: quick pictures share one."""
        batches = int(NOTED_SECONDS / max(seconds_per_image * self.batch_size, 1e-6))
        self._noted_at_once = max(self.batch_size, min(batches * self.batch_size, NOTED_IMAGES))

    def _annotated(self, taken: list[Fetched]) -> Sequence[list[Answer] | InputError]:
        pictures = [image.picture for image in taken if image.picture is not None]
        return annotate_within_memory(self.annotator, pictures, [image.labels for image in taken])


class Worker:
    """A Segmenter that writes its answers aside and gives receipts."""

    def __init__(self, aside: Aside, notes: Notes, **arguments: Any):
        self.segmenter = Segmenter(notes=notes, **arguments)
        self._aside = aside

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        for answers in self.segmenter(table):
            yield self._aside.put(answers)


def loaded_model(name: str, notes: Notes, model: str, device: str) -> TiledModel:
    """For `started_worker`, in a process that is there for nothing else; too many deaths on the way end the run."""
    if notes.deaths_at_start(name) >= logbook.DEATHS_AT_START:
        raise ClusterError(
            f"a worker's process died {logbook.DEATHS_AT_START} times while it loaded the model and the exemplars; "
            "give workers more memory (workers.memory_gb)"
        )
    return load_model(model, device)


def started_worker(name: str, notes: Notes, exemplars: LoadedExemplars, **arguments: Any) -> Worker:
    """The worker of a process that has its model from `loaded_model`."""
    if exemplars.count > MANY_EXEMPLARS:
        give_freed_memory_back()
    else:
        keep_freed_memory()
    worker = Worker(notes=notes, exemplars=exemplars, **arguments)
    keep_freed_memory()
    notes.started(name)
    return worker


def _fatal() -> InputError:
    return InputError(logbook.FATAL, logbook.KIND)


def cut_between_images(answers: pa.Table, most_bytes: int) -> Iterator[pa.Table]:
    """The table in parts of about `most_bytes` at most, or of one image; an image's rows lie together and stay so."""
    positions = answers["position"].to_numpy()
    firsts = [*np.flatnonzero(np.diff(positions, prepend=positions[:1] - 1)).tolist(), len(positions)]
    per_row = answers.nbytes / max(1, len(positions))
    start = 0
    for stop, following in itertools.pairwise(firsts):
        if stop > start and (following - start) * per_row > most_bytes:
            yield answers.slice(start, stop - start)
            start = stop
    yield answers.slice(start)


def _trace(image: Fetched, segment_seconds: float, row_count: int) -> list[tuple[float, ...]]:
    values = (
        image.position,
        row_count,
        float(image.deferred),
        image.fetch_seconds,
        image.decode_seconds,
        segment_seconds,
    )
    return [values] * row_count
