"""The second stage, on the model's workers: pixels -> answer rows. Running out of memory is met in steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from PIL import Image

from jobs.flow.fetch import Fetched, from_table
from tlg.annotate.protocol import AnnotateParams, Annotator
from tlg.annotate.registry import load_annotator
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance
from tlg.errors import InputError
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture

# Besides the answer's own columns, each row says where it belongs and what it cost, for the driver alone.
TRACE_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("rows", pa.int32()),  # of this image, so that a table cut in two is noticed
        ("deferred", pa.bool_()),
        ("fetch_seconds", pa.float32()),
        ("decode_seconds", pa.float32()),
        ("segment_seconds", pa.float32()),
    ]
)
SMALLEST_SIDE = 64


class Segmenter:
    """A worker of the pool: one annotator, its exemplars encoded once."""

    def __init__(
        self,
        model: str,
        exemplars: LoadedExemplars,
        params: AnnotateParams,
        provenance: Provenance,
        batch_size: int,
        device: str,
    ):
        self.annotator = load_annotator(model, exemplars, params, device)
        self.provenance = provenance
        self.batch_size = batch_size

    def __call__(self, table: pa.Table) -> pa.Table:
        rows: list[ImageAnswers] = []
        traces: list[tuple[float, ...]] = []
        fetched = from_table(table)
        readable = [one for one in fetched if one.picture is not None]
        for one in fetched:
            if one.picture is None:
                rows.append(ImageAnswers(one.uri, one.etag, (), one.error_type, one.error_message))
                traces += _trace(one, 0.0, 1)
        for start in range(0, len(readable), self.batch_size):
            batch = readable[start : start + self.batch_size]
            began = time.perf_counter()
            pictures = [one.picture for one in batch if one.picture is not None]
            results = annotate_within_memory(self.annotator, pictures, [one.asked for one in batch])
            seconds = (time.perf_counter() - began) / len(batch)
            for one, result in zip(batch, results, strict=True):
                if isinstance(result, InputError):
                    rows.append(ImageAnswers(one.uri, one.etag, (), result.kind, str(result)))
                    traces += _trace(one, seconds, 1)
                else:
                    rows.append(ImageAnswers(one.uri, one.etag, result))
                    traces += _trace(one, seconds, len(result))
        answers = records.to_table(rows, self.provenance)
        trace = np.asarray(traces, np.float64).reshape(-1, len(TRACE_SCHEMA))
        for column, schema_field in enumerate(TRACE_SCHEMA):
            answers = answers.append_column(schema_field, pa.array(trace[:, column]).cast(schema_field.type))
        return answers


def annotate_within_memory(
    annotator: Annotator, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None]
) -> list[list[Answer] | InputError]:
    """Answers for all; a batch that does not fit is halved, a single image that does not fit is scaled down."""
    try:
        return list(annotator.annotate(pictures, asked))
    except InputError as error:
        if len(pictures) == 1:
            return [error]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _release_memory()
    if len(pictures) == 1:
        return [_annotate_scaled(annotator, pictures[0], asked[0])]
    middle = len(pictures) // 2
    first = annotate_within_memory(annotator, pictures[:middle], asked[:middle])
    return first + annotate_within_memory(annotator, pictures[middle:], asked[middle:])


def _annotate_scaled(annotator: Annotator, picture: Picture, asked: Sequence[str] | None) -> list[Answer] | InputError:
    height, width = picture.pixels.shape[:2]
    while min(height, width) // 2 >= SMALLEST_SIDE:
        height, width = height // 2, width // 2
        smaller = Image.fromarray(picture.pixels).resize((width, height), Image.Resampling.BILINEAR)
        try:
            return annotator.annotate([replace(picture, pixels=np.asarray(smaller))], [asked])[0]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            _release_memory()
    size = f"{picture.width}x{picture.height}"
    return InputError(
        f"{size} pixels do not fit into the worker's memory, scaled to {width}x{height} neither; "
        "give workers more memory or lower run.max_pixels",
        kind="out_of_memory",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Of a CPU (Python, torch's allocator) or a GPU; anything else is a defect that must be seen."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _release_memory() -> None:
    torch = sys.modules.get("torch")  # an annotator without it has nothing to give back
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _trace(one: Fetched, segment_seconds: float, row_count: int) -> list[tuple[float, ...]]:
    values = (one.position, row_count, float(one.deferred), one.fetch_seconds, one.decode_seconds, segment_seconds)
    return [values] * row_count
