"""Which images there are: a prefix, a list or a manifest file, streamed in batches, and what of it is to do.

What is to do is written to Parquet files in the run's own folder; the driver keeps a few bytes per image.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from jobs.flow import ledger
from jobs.output import shards
from tlg import pictures, store
from tlg.answers import records
from tlg.errors import SpecError
from tlg.spec import ImagesSpec

ENTRIES_PER_BATCH = 20_000
# One file of work holds this many images, in groups; a unit of work is a group or an even part of one.
IMAGES_PER_FILE = 51_200
IMAGES_PER_GROUP = 512

WORK_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("asked", pa.list_(pa.string())),
    ]
)


@dataclass
class Listed:
    """A batch of images: parallel columns; `asked` is None where every class is asked."""

    uris: list[str]
    etags: list[str | None]
    sizes: list[int | None]
    asked: list[list[str] | None] | None = None


def listed(spec: ImagesSpec, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[Listed]:
    """Every image of the collection, in the store's order."""
    if spec.manifest is not None:
        yield from _manifest_rows(spec.manifest, spec.labels, access)
    elif store.scheme(spec.uri or "") in ("http", "https"):
        yield from _web_list(spec.uri or "", access)
    else:
        entries = store.entries(spec.uri or "", spec.pattern, access)
        chosen = (entry for entry in entries if entry.uri.lower().endswith(pictures.EXTENSIONS))
        while batch := list(islice(chosen, ENTRIES_PER_BATCH)):
            yield Listed([one.uri for one in batch], [one.etag for one in batch], [one.size for one in batch])


@dataclass
class Work:
    """What a run has to do, as files in its folder: positions 0 to `count`, and their total size where known."""

    folder: str
    access: store.Access
    listed: int = 0
    count: int = 0
    total_bytes: int = 0
    replaced: int = 0
    nothing_asked: int = 0
    unknown_labels: set[str] = field(default_factory=set)

    def read(self, start: int, count: int) -> pa.Table:
        """The rows at positions `start` to `start + count`, which lie in one group."""
        file, inside = divmod(start, IMAGES_PER_FILE)
        group, offset = divmod(inside, IMAGES_PER_GROUP)
        content = store.read(f"{self.folder}/{file:06d}.parquet", self.access)
        return pq.ParquetFile(io.BytesIO(content)).read_row_group(group).slice(offset, count)

    def units(self, images_per_unit: int) -> np.ndarray:
        """(start, count) of every unit of work; `images_per_unit` divides the group size."""
        starts = np.arange(0, self.count, images_per_unit)
        return np.stack([starts, np.minimum(images_per_unit, self.count - starts)], axis=1)


def plan_work(
    batches: Iterable[Listed],
    done: ledger.Ledger,
    class_names: Sequence[str],
    folder: str,
    access: store.Access,
    only_failed: bool = False,
    force: bool = False,
    seen: shards.NumberSet | None = None,
) -> Work:
    """Write down what is left to do. Of an image that is listed twice, the first counts; `seen` gets them all."""
    work = Work(folder, access)
    class_ids = {name: number for number, name in enumerate(class_names, start=1)}
    everything = ledger.classes_key(list(class_ids.values()))
    seen = shards.NumberSet() if seen is None else seen
    waiting: list[pa.Table] = []
    for batch in batches:
        image_ids = [records.image_id(uri) for uri in batch.uris]
        numbers = shards.image_numbers(pa.chunked_array([pa.array(image_ids, pa.string())]))
        keys = ledger.image_keys(image_ids, batch.etags)
        if batch.asked is None:
            asked, chosen = np.full(len(keys), everything), np.ones(len(keys), bool)
        else:
            batch.asked = [_known_only(names, class_ids, work.unknown_labels) for names in batch.asked]
            sums = [
                everything if names is None else ledger.classes_key([class_ids[one] for one in names])
                for names in batch.asked
            ]
            asked = np.asarray(sums, np.uint64)
            chosen = np.asarray([names is None or len(names) > 0 for names in batch.asked])
            work.nothing_asked += int((~chosen).sum())
        if only_failed:
            chosen &= shards.is_in(numbers, done.failed_images)
        elif not force:
            chosen &= ~done.is_done(keys, asked)
        fresh = np.zeros(len(numbers), bool)
        fresh[np.unique(numbers, return_index=True)[1]] = True
        fresh &= ~seen.has(numbers)
        seen.add(numbers[fresh])
        work.listed += int(fresh.sum())
        todo = np.flatnonzero(chosen & fresh)
        work.replaced += int(shards.is_in(numbers[todo], done.known).sum())
        if len(todo):
            waiting.append(_rows(batch, todo))
        while sum(map(len, waiting)) >= IMAGES_PER_FILE:
            together = pa.concat_tables(waiting)
            _write(work, together.slice(0, IMAGES_PER_FILE))
            waiting = [together.slice(IMAGES_PER_FILE)]
    if sum(map(len, waiting)):
        _write(work, pa.concat_tables(waiting))
    return work


def _rows(batch: Listed, chosen: np.ndarray) -> pa.Table:
    def take(values: list[Any]) -> list[Any]:
        return [values[place] for place in chosen]

    columns = {
        "position": np.zeros(len(chosen), np.int64),
        "uri": take(batch.uris),
        "etag": take(batch.etags),
        "size": take(batch.sizes),
        "asked": [None] * len(chosen) if batch.asked is None else take(batch.asked),
    }
    return pa.table(columns, schema=WORK_SCHEMA)


def _write(work: Work, table: pa.Table) -> None:
    positions = pa.array(np.arange(work.count, work.count + len(table)), pa.int64())
    table = table.set_column(0, "position", positions)
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=IMAGES_PER_GROUP, compression="zstd")
    store.write(f"{work.folder}/{work.count // IMAGES_PER_FILE:06d}.parquet", stream.getvalue(), work.access)
    work.count += len(table)
    work.total_bytes += int(table["size"].drop_null().to_numpy().sum())


def _known_only(names: list[str] | None, class_ids: dict[str, int], unknown: set[str]) -> list[str] | None:
    if names is None:
        return None
    unknown.update(name for name in names if name not in class_ids)
    return sorted({name for name in names if name in class_ids}, key=class_ids.__getitem__)


def _manifest_rows(uri: str, labels: str | None, access: store.Access) -> Iterator[Listed]:
    folder = store.parent(uri)
    for table in _manifest_tables(uri, access):
        for wanted in ("uri", *([labels] if labels else [])):
            if wanted not in table.column_names:
                raise SpecError(f"{uri}: no column '{wanted}'; it has {', '.join(table.column_names)}")
        uris = [store.join(folder, str(one)) for one in table["uri"].to_pylist() if one]
        if len(uris) < len(table):
            raise SpecError(f"{uri}: {len(table) - len(uris)} rows without a uri; remove them or fill them in")
        etags, sizes = _states(uris, table)
        asked = [_names(value) for value in table[labels].to_pylist()] if labels else None
        yield Listed(uris, etags, sizes, asked)


def _states(uris: list[str], table: pa.Table) -> tuple[list[str | None], list[int | None]]:
    """Etags and sizes from the manifest's own columns, of local files from the disk, else unknown."""
    if "etag" in table.column_names:
        etags = [None if one is None else str(one) for one in table["etag"].to_pylist()]
        sizes = table["size"].to_pylist() if "size" in table.column_names else [None] * len(uris)
        return etags, sizes
    states = [store.local_state(uri) if store.scheme(uri) == "file" else None for uri in uris]
    return [one.etag if one else None for one in states], [one.size if one else None for one in states]


def _manifest_tables(uri: str, access: store.Access) -> Iterator[pa.Table]:
    name = uri.lower()
    stream = pa.BufferReader(store.read(uri, access))
    try:
        if name.endswith((".parquet", ".pq")):
            for batch in pq.ParquetFile(stream).iter_batches(ENTRIES_PER_BATCH):
                yield pa.Table.from_batches([batch])
        elif name.endswith((".csv", ".tsv")):
            separator = "\t" if name.endswith(".tsv") else ","
            options = pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
            for batch in pa.csv.open_csv(stream, parse_options=options):
                yield pa.Table.from_batches([batch])
        elif name.endswith((".jsonl", ".ndjson", ".json")):
            yield pa.json.read_json(stream)
        elif name.endswith(".txt"):
            lines = [line for line in stream.read().decode().splitlines() if line.strip()]
            yield pa.table({"uri": [line.strip() for line in lines]})
        else:
            raise SpecError(f"{uri}: unknown kind of manifest; expected .parquet, .csv, .tsv, .jsonl or .txt")
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise SpecError(f"{uri}: cannot be read as a manifest: {' '.join(str(error).split())}") from None


def _names(value: object) -> list[str] | None:
    """Candidate classes as a manifest writes them: a list, JSON, or names between commas or semicolons."""
    if value is None:
        return None
    if isinstance(value, list):
        return [str(one) for one in value]
    text = str(value).strip()
    if text.startswith("["):
        try:
            return [str(one) for one in json.loads(text)]
        except json.JSONDecodeError:
            raise SpecError(f"labels {text!r}: neither a JSON list nor names between commas") from None
    return [one.strip() for one in text.replace(";", ",").split(",") if one.strip()]


def _web_list(uri: str, access: store.Access) -> Iterator[Listed]:
    """One address a line; the server's version of an image is not known, so an address stands for its content."""
    lines = [line.strip() for line in store.read_text(uri, access).splitlines()]
    uris = [store.join(store.parent(uri), line) for line in lines if line and not line.startswith("#")]
    for start in range(0, len(uris), ENTRIES_PER_BATCH):
        part = uris[start : start + ENTRIES_PER_BATCH]
        yield Listed(part, [None] * len(part), [None] * len(part))
