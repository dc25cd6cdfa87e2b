"""Whole collections: run a job from Python, read what jobs have committed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.output import shards
from jobs.output.runs import RunSummary
from tlg import store
from tlg.answers.records import SCHEMA, from_rows
from tlg.api.annotated_image import AnnotatedImage
from tlg.api.exemplar_set import ExemplarSet
from tlg.errors import InputError, StorageError
from tlg.spec import DEFAULT_MODEL, short_spec


def annotate(
    images: str | Path,
    exemplars: ExemplarSet | str | Path,
    out: str | Path,
    *,
    model: str = DEFAULT_MODEL,
    settings: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> RunSummary:
    """Run a job as `tlg annotate` does; run again, it does only what is missing. Returns what the run did.

    `images` is a folder, a prefix in a store, or a list of images. `settings` are keys of the job spec, like
    {"run.min_score": 0.6, "workers.max": 4}. `address` names a running Ray; without it the job starts its own.
    """
    from jobs.annotate import annotate as run_job
    from jobs.commands.validate import check_inputs

    source = exemplars.source if isinstance(exemplars, ExemplarSet) else str(exemplars)
    assignments = [f"{key}={json.dumps(value)}" for key, value in ({"model": model} | dict(settings or {})).items()]
    spec = short_spec(str(images), source, str(out), assignments)
    check_inputs(spec)
    return run_job(spec, address)


def read_answers(out: str | Path) -> CommittedAnswers:
    """The answers that hold in an output, read shard by shard as they are asked for."""
    answers = CommittedAnswers(store.join(".", str(out)))
    if not shards.committed(answers.output):
        raise StorageError(f"{out}: no committed answers here; expected {shards.FOLDER}/*.parquet", missing=True)
    return answers


@dataclass(frozen=True)
class CommittedAnswers:
    """What an output's committed shards say; of an image that was answered again, the newest answer."""

    output: str

    def __iter__(self) -> Iterator[AnnotatedImage]:
        """Image after image, with masks that are decoded when they are looked at."""
        for table in self.tables():
            rows = (row for batch in table.to_batches() for row in batch.to_pylist())
            for _, of_image in groupby(rows, key=lambda row: row["image_id"]):
                yield _annotated(list(of_image))

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The answer rows, one table a shard."""
        for table in shards.current(self.output, columns=None if columns is None else list(columns)):
            yield table if columns is None else table.select(list(columns))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All answer rows in memory. `rle` is the large column: name the columns that are needed."""
        names = SCHEMA.names if columns is None else list(columns)
        nothing = pa.schema([SCHEMA.field(name) for name in names]).empty_table()
        return pa.concat_tables([nothing, *self.tables(names)])


def _annotated(rows: list[dict[str, Any]]) -> AnnotatedImage:
    uri = rows[0]["image_uri"]
    if rows[0]["status"] == "error":
        return AnnotatedImage(uri, error=InputError(rows[0]["error_message"], rows[0]["error_type"]))
    return AnnotatedImage(uri, tuple(from_rows(rows)))
