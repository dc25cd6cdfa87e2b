"""What a shard holds, in 20 bytes an image: `_index/part-<number>.parquet`, written with the shard.

A night reads the indexes of all former nights instead of their answers. An index is only ever made from its shard:
where it is missing, damaged or of another size of shard, it is made again.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.output import shards
from jobs.output.identity import class_numbers, image_keys, image_numbers
from jobs.output.shards import Shard
from tlg import store
from tlg.answers.records import Provenance
from tlg.errors import StorageError

log = logging.getLogger(__name__)

FOLDER = "_index"
VERSION = 1
METADATA_KEY = b"tlg.index"
BINS = 20
# A night that closes nothing but indexes needs these columns of a shard that has none.
SOURCE_COLUMNS = [
    "image_id",
    "image_etag",
    "class_name",
    "class_id",
    "part",
    "status",
    "score",
    "presence",
    "error_type",
    "model_digest",
    "exemplars_digest",
    "params_digest",
    "run_id",
]
# Errors that are in the bytes of an image themselves.
UNREADABLE = frozenset({"empty", "not_an_image", "truncated"})
ORIGIN_COLUMNS = ["model_digest", "exemplars_digest", "params_digest", "run_id"]


@dataclass
class ClassCounts:
    """The rows of one class in a shard."""

    name: str
    class_id: int
    masks: int = 0
    absent: int = 0
    scores: list[int] = field(default_factory=lambda: [0] * BINS)
    presences: list[int] = field(default_factory=lambda: [0] * BINS)


@dataclass(eq=False)
class Index:
    """A shard's images, one place each in parallel arrays, and its classes.

    `answers` tells what an answer is an answer to: the image's version and the classes asked, or the version alone
    where there is an error. `origins` are distinct provenances, `origin` says which of them an image has.
    """

    shard: Shard
    rows: int
    numbers: np.ndarray
    answers: np.ndarray
    masks: np.ndarray
    absent: np.ndarray
    error_types: list[str]
    error_type: np.ndarray  # -1: answered
    origins: list[Provenance]
    origin: np.ndarray
    classes: list[ClassCounts]

    @property
    def is_error(self) -> np.ndarray:
        return self.error_type >= 0

    def is_of(self, provenance: Provenance) -> np.ndarray:
        """Which images this model, these exemplars and these parameters answered, in whatever run."""
        same = [
            (origin.model_digest, origin.exemplars_digest, origin.params_digest)
            == (provenance.model_digest, provenance.exemplars_digest, provenance.params_digest)
            for origin in self.origins
        ]
        return np.asarray(same, bool)[self.origin] if same else np.zeros(0, bool)

    def is_unreadable(self, params_digest: str) -> np.ndarray:
        """Which images are no images under these parameters, whatever model and exemplars they are shown to."""
        of_type = np.asarray([name in UNREADABLE for name in self.error_types] + [False], bool)  # -1 is the last
        same = np.asarray([origin.params_digest == params_digest for origin in self.origins], bool)
        return of_type[self.error_type] & same[self.origin] if len(same) else np.zeros(0, bool)


def index_uri(output: str, number: int) -> str:
    return f"{output.rstrip('/')}/{FOLDER}/{shards.shard_name(number)}"


def build(shard: Shard, table: pa.Table) -> Index:
    """The index of a shard's rows, which lie together image by image. Parts of a class's mask say nothing new."""
    row_count = len(table)
    table = table.filter(pc.is_null(table["part"]))
    ids = table["image_id"].combine_chunks()
    codes = ids.dictionary_encode().indices.to_numpy()
    firsts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, np.int64)
    images = table.select(["image_id", "image_etag", "error_type", *ORIGIN_COLUMNS]).take(firsts)
    is_error = _equal(table["status"], "error")
    versions = image_keys(images["image_id"].to_pylist(), images["image_etag"].to_pylist())
    class_ids = pc.fill_null(table["class_id"], 0).to_numpy().astype(np.uint64)
    classes_keys = _summed(np.where(is_error, np.uint64(0), class_numbers(class_ids)), firsts)
    error_types, error_type = _coded(images["error_type"].to_pylist())
    origins, origin = _coded(list(zip(*(images[name].to_pylist() for name in ORIGIN_COLUMNS), strict=True)))
    return Index(
        shard,
        row_count,
        image_numbers(images["image_id"]),
        versions + classes_keys,
        _summed(_equal(table["status"], "mask").astype(np.int32), firsts),
        _summed(_equal(table["status"], "absent").astype(np.int32), firsts),
        error_types,
        error_type,
        [Provenance(*values) for values in origins],
        origin,
        _class_counts(table),
    )


def write(output: str, index: Index, access: store.Access) -> None:
    columns = {
        "number": pa.array(index.numbers),
        "answer": pa.array(index.answers),
        "masks": pa.array(index.masks.astype(np.int32)),
        "absent": pa.array(index.absent.astype(np.int32)),
        "error_type": pa.array(index.error_type.astype(np.int16)),
        "origin": pa.array(index.origin.astype(np.int16)),
    }
    about = {
        "version": VERSION,
        "shard_size": index.shard.size,
        "rows": index.rows,
        "error_types": index.error_types,
        "origins": [asdict(origin) for origin in index.origins],
        "classes": [asdict(of_class) for of_class in index.classes],
    }
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(about)})
    stream = io.BytesIO()
    dictionaries = ["masks", "absent", "error_type", "origin"]
    pq.write_table(
        table, stream, compression="zstd", use_dictionary=dictionaries, write_statistics=False, write_page_checksum=True
    )
    store.write(index_uri(output, index.shard.number), stream.getvalue(), access)


def read(output: str, shard: Shard, access: store.Access) -> Index | None:
    """None where there is no index that fits the shard."""
    uri = index_uri(output, shard.number)
    try:
        content = store.read(uri, access)
    except StorageError as error:
        if error.missing:
            return None
        raise
    try:
        table = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read()
        about = json.loads((table.schema.metadata or {})[METADATA_KEY])
        if (about["version"], about["shard_size"]) != (VERSION, shard.size):
            return None
        return Index(
            shard,
            about["rows"],
            table["number"].to_numpy(),
            table["answer"].to_numpy(),
            table["masks"].to_numpy(),
            table["absent"].to_numpy(),
            about["error_types"],
            table["error_type"].to_numpy(),
            [Provenance(**values) for values in about["origins"]],
            table["origin"].to_numpy(),
            [ClassCounts(**values) for values in about["classes"]],
        )
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: damaged (%s); it is made again from its shard", uri, " ".join(str(error).split()))
        return None


def _class_counts(table: pa.Table) -> list[ClassCounts]:
    answered = table.filter(pc.not_equal(table["status"], "error"))
    counts = []
    pairs = answered.select(["class_id", "class_name"]).group_by(["class_id", "class_name"]).aggregate([])
    for pair in sorted(pairs.to_pylist(), key=lambda pair: (pair["class_id"], pair["class_name"])):
        is_class = pc.and_(
            pc.equal(answered["class_id"], pair["class_id"]), pc.equal(answered["class_name"], pair["class_name"])
        )
        rows = answered.filter(is_class)
        masks = int(_equal(rows["status"], "mask").sum())
        scores, presences = (
            np.histogram(rows[name].to_numpy(), BINS, (0, 1))[0].tolist() for name in ("score", "presence")
        )
        counts.append(ClassCounts(pair["class_name"], pair["class_id"], masks, len(rows) - masks, scores, presences))
    return counts


def _summed(values: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Of each image: the sum over its rows."""
    return np.add.reduceat(values, firsts) if len(firsts) else values[:0]


def _equal(column: pa.ChunkedArray, value: str) -> np.ndarray:
    return np.asarray(pc.equal(column, value).to_numpy(zero_copy_only=False), bool)


def _coded(values: Sequence[Any]) -> tuple[list[Any], np.ndarray]:
    """The distinct values that are not None, and which of them each is; -1 for None."""
    places: dict[Any, int] = {}
    codes = [-1 if value is None else places.setdefault(value, len(places)) for value in values]
    return list(places), np.asarray(codes, np.int16)
