"""Which images there are: a prefix, a list or a manifest file, streamed in batches, and what of it is to do.

What is to do is written to Parquet files in the run's own folder; the driver keeps a few bytes per image.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.flow import archives, ledger
from jobs.output.identity import NumberSet, image_numbers, is_in
from tlg import pictures, store
from tlg.answers import records
from tlg.errors import EmptyCollectionError, SpecError
from tlg.spec import ImagesSpec
from tlg.store.archives import Place, is_archive, member_address, names_archives, parted

ENTRIES_PER_BATCH = 20_000
# One file of work holds this many images, in groups; a unit of work is a group or an even part of one.
IMAGES_PER_FILE = 51_200
IMAGES_PER_GROUP = 512
# Lists and text manifests are read ahead by this much.
READ_AHEAD_BYTES = 8 * 2**20
# What a run writes below its output, beside folders that begin with an underscore.
OUTPUT_FOLDERS = ("annotations", "coco", "label_studio", "overlay", "quarantine", "report", "review", "runs")

WORK_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("labels", pa.list_(pa.string())),
        ("put_off_at", pa.float64()),  # since when the image could not be had, null if it never was tried in vain
        ("place", pa.string()),  # where in its archive the image lies, null for one that is a file of its own
    ]
)


@dataclass
class Listed:
    """A batch of images: parallel columns; `labels` is None where every class is looked for, `places` where none is in
    an archive.

    `left_out` counts what was found beside them since the batch before, by reason.
    """

    uris: list[str]
    etags: list[str | None]
    sizes: list[int | None]
    labels: list[list[str] | None] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    places: list[str | None] | None = None

    def read(self, number: int, access: store.Access) -> bytes:
        """One image's bytes."""
        place = self.places[number] if self.places else None
        if place is None:
            return store.read(self.uris[number], access)
        return store.read_member(self.uris[number], Place.of(place), self.etags[number], access)


def listed(
    spec: ImagesSpec,
    access: store.Access = store.DEFAULT_ACCESS,
    output: str | None = None,
    indices: str | None = None,
) -> Iterator[Listed]:
    """Every image of the collection, in the store's order, but none that a run wrote into `output` itself.

    `indices` is the folder where the indices of tars are kept from run to run.
    """
    if spec.manifest is not None:
        batches, reason = _manifest_rows(spec.manifest, spec.labels, access), "the manifest has no rows"
    elif store.scheme(spec.uri or "") in ("http", "https"):
        batches, reason = _web_list(spec.uri or "", access), "the list has no addresses"
    else:
        batches, reason = _below(spec, access, output, indices), "nothing is there; check the name"
    images = 0
    left_out: Counter[str] = Counter()
    for batch in batches:
        images += len(batch.uris)
        left_out += batch.left_out
        yield batch
    if not images:
        cause = f"found {_counted(left_out)}" if left_out else reason
        raise EmptyCollectionError(f"{spec.manifest or spec.uri}: no images: {cause}")


def _below(spec: ImagesSpec, access: store.Access, output: str | None, indices: str | None) -> Iterator[Listed]:
    """Files below the folder, and members of archives where the pattern or the address itself asks for these."""
    folder = spec.uri or ""
    pattern, _, inner = spec.pattern.partition("#")
    is_one, opens = is_archive(folder), names_archives(pattern)
    matches, is_member, is_ours = store.matcher(pattern), store.matcher(inner or "**/*"), _output_test(folder, output)
    base = len(_plain(folder)) + 1
    batch = Listed([], [], [], places=[])

    def leave_out(uri: str, reason: str) -> None:
        batch.left_out[reason] += 1

    def add(uri: str, etag: str, size: int | None, place: str | None) -> Iterator[Listed]:
        nonlocal batch
        assert batch.places is not None
        batch.uris.append(uri)
        batch.etags.append(etag)
        batch.sizes.append(size)
        batch.places.append(place)
        if len(batch.uris) == ENTRIES_PER_BATCH:
            full, batch = batch, Listed([], [], [], places=[])
            yield full

    entries = iter([store.stat(folder, access)]) if is_one else store.entries(folder, access=access, left_out=leave_out)
    for entry in entries:
        place = _plain(entry.uri)
        if is_one or (opens and is_archive(place) and not is_ours(place) and matches(place[base:])):
            for member in archives.images_in(entry, access, is_member, leave_out, indices):
                uri = member_address(entry.uri, member.name) if member.name else entry.uri
                yield from add(uri, entry.etag, member.size, member.place.text())
        elif is_ours(place):
            leave_out(entry.uri, "files of the job's own output")
        elif not matches(place[base:]):
            leave_out(entry.uri, f"files that do not match {pattern}")
        elif not place.lower().endswith(pictures.EXTENSIONS):
            leave_out(entry.uri, _no_image(place))
        else:
            yield from add(entry.uri, entry.etag, entry.size or None, None)  # 0 where a store does not say
    yield batch


def _no_image(place: str) -> str:
    ending = os.path.splitext(place)[1].lower()
    if is_archive(place):
        return f"{ending} files (images.pattern: '**/*{ending}' reads the images in them)"
    return f"{ending} files" if ending else "files without an ending"


def _output_test(folder: str, output: str | None) -> Callable[[str], bool]:
    """Whether a place lies in the job's own output, which may be in, at or above the collection's folder."""
    if output is None:
        return lambda place: False
    ours, images = _plain(output) + "/", _plain(folder) + "/"
    if ours.startswith(images) and ours != images:
        return lambda place: place.startswith(ours)
    own = tuple(f"{ours}{name}/" for name in OUTPUT_FOLDERS)
    return lambda place: place.startswith((*own, f"{ours}_"))


def _plain(uri: str) -> str:
    place = store.path_in_store(uri) if store.scheme(uri) == "file" else uri
    return place.rstrip("/")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items(), key=_most_first))


def _most_first(counted: tuple[str, int]) -> tuple[int, str]:
    reason, count = counted
    return -count, reason


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
    left_out: Counter[str] = field(default_factory=Counter)

    def remarks(self) -> list[str]:
        """What whoever started the run should hear about the collection."""
        remarks = []
        if self.left_out:
            remarks.append(f"left out: {_counted(self.left_out)}")
        if self.nothing_asked:
            remarks.append(f"{self.nothing_asked:,} images have labels that ask for no class; they are not looked at")
        if self.unknown_labels:
            names = sorted(self.unknown_labels)
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            remarks.append(f"labels that are no class of the exemplars: {', '.join(names[:20])}{more}")
        return remarks

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
    seen: NumberSet | None = None,
    put_off: Mapping[str, float] | None = None,
) -> Work:
    """Write down what is left to do. Of an image that is listed twice, the first counts.

    `seen` gets every image that is listed; `put_off` says since when images could not be had.
    """
    work = Work(folder, access)
    class_ids = {name: number for number, name in enumerate(class_names, start=1)}
    everything = ledger.classes_key(list(class_ids.values()))
    seen = NumberSet() if seen is None else seen
    waiting: list[pa.Table] = []
    for batch in batches:
        work.left_out += batch.left_out
        image_ids = [records.image_id(uri) for uri in batch.uris]
        numbers = image_numbers(pa.chunked_array([pa.array(image_ids, pa.string())]))
        keys = ledger.image_keys(image_ids, batch.etags)
        if batch.labels is None:
            classes_keys, chosen = np.full(len(keys), everything), np.ones(len(keys), bool)
        else:
            batch.labels = [_known_only(names, class_ids, work.unknown_labels) for names in batch.labels]
            sums = [
                everything if names is None else ledger.classes_key([class_ids[name] for name in names])
                for names in batch.labels
            ]
            classes_keys = np.asarray(sums, np.uint64)
            chosen = np.asarray([names is None or len(names) > 0 for names in batch.labels])
            work.nothing_asked += int((~chosen).sum())
        if only_failed:
            chosen &= is_in(numbers, done.failed_images)
        elif not force:
            chosen &= ~done.is_done(keys, classes_keys)
        fresh = np.zeros(len(numbers), bool)
        fresh[np.unique(numbers, return_index=True)[1]] = True
        fresh &= ~seen.has(numbers)
        seen.add(numbers[fresh])
        work.listed += int(fresh.sum())
        todo = np.flatnonzero(chosen & fresh)
        work.replaced += int(is_in(numbers[todo], done.known).sum())
        if len(todo):
            waiting.append(_rows(batch, todo, put_off or {}))
        while sum(map(len, waiting)) >= IMAGES_PER_FILE:
            together = pa.concat_tables(waiting)
            _write(work, together.slice(0, IMAGES_PER_FILE))
            waiting = [together.slice(IMAGES_PER_FILE)]
    if sum(map(len, waiting)):
        _write(work, pa.concat_tables(waiting))
    return work


def _rows(batch: Listed, chosen: np.ndarray, put_off: Mapping[str, float]) -> pa.Table:
    def take(values: list[Any]) -> list[Any]:
        return [values[place] for place in chosen]

    columns = {
        "position": np.zeros(len(chosen), np.int64),
        "uri": take(batch.uris),
        "etag": take(batch.etags),
        "size": take(batch.sizes),
        "labels": [None] * len(chosen) if batch.labels is None else take(batch.labels),
        "put_off_at": [put_off.get(uri) for uri in take(batch.uris)],
        "place": [None] * len(chosen) if batch.places is None else take(batch.places),
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
    wanted = ["uri", "etag", "size", *([labels] if labels else [])]
    rows = _rows_of_manifest(uri, wanted, ["uri", *([labels] if labels else [])], access)
    while part := list(islice(rows, ENTRIES_PER_BATCH)):
        without = sum(1 for row in part if not row["uri"])
        if without:
            raise SpecError(f"{uri}: {without} rows without a uri; remove them or fill them in")
        uris = [store.join(folder, str(row["uri"])) for row in part]
        etags, sizes = _states(uri, uris, part)
        yield Listed(uris, etags, sizes, [_names(row[labels]) for row in part] if labels else None)


def _states(manifest: str, uris: list[str], rows: list[dict[str, Any]]) -> tuple[list[str | None], list[int | None]]:
    """Etags and sizes from the manifest's own columns, of local files from the disk, else unknown."""
    etags: list[str | None]
    sizes: list[int | None]
    if "etag" in rows[0]:
        etags = [None if row["etag"] in (None, "") else str(row["etag"]) for row in rows]
        return etags, [_size(manifest, row.get("size")) for row in rows]
    etags, sizes = [], []
    for uri in uris:
        archive = parted(uri)
        place = store.path_in_store(archive[0] if archive else uri)
        state = store.local_state(place) if store.scheme(uri) == "file" else None
        etags.append(state.etag if state else None)
        sizes.append(state.size if state and not archive else None)
    return etags, sizes


def _size(manifest: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(str(value))
    except ValueError:
        raise SpecError(f"{manifest}: size {value!r}; expected a whole number of bytes") from None


def _rows_of_manifest(
    uri: str, wanted: Sequence[str], needed: Sequence[str], access: store.Access
) -> Iterator[dict[str, Any]]:
    """The rows one by one; a column that is not there is not in them, one that is `needed` has to be."""
    name = uri.lower()
    with store.open_input(uri, access) as file:
        try:
            if name.endswith((".parquet", ".pq")):
                yield from _parquet_rows(uri, pq.ParquetFile(file), wanted, needed)
            elif name.endswith((".csv", ".tsv")):
                yield from _csv_rows(uri, _text(file), "\t" if name.endswith(".tsv") else ",", wanted, needed)
            elif name.endswith((".jsonl", ".ndjson", ".json")):
                yield from _json_rows(uri, _text(file), wanted, needed)
            elif name.endswith(".txt"):
                _require(uri, needed, ["uri"])
                yield from ({"uri": line.strip()} for line in _text(file) if line.strip())
            else:
                raise SpecError(f"{uri}: unknown kind of manifest; expected .parquet, .csv, .tsv, .jsonl or .txt")
        except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
            raise SpecError(f"{uri}: cannot be read as a manifest: {' '.join(str(error).split())}") from None


def _text(file: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(cast(io.RawIOBase, file), READ_AHEAD_BYTES), "utf-8-sig", newline="")


def _require(uri: str, needed: Sequence[str], there: Sequence[str]) -> None:
    for name in needed:
        if name not in there:
            raise SpecError(f"{uri}: no column '{name}'; it has {', '.join(there)}")


def _parquet_rows(
    uri: str, file: pq.ParquetFile, wanted: Sequence[str], needed: Sequence[str]
) -> Iterator[dict[str, Any]]:
    there = file.schema_arrow.names
    _require(uri, needed, there)
    for batch in file.iter_batches(ENTRIES_PER_BATCH, columns=[name for name in wanted if name in there]):
        yield from batch.to_pylist()


def _csv_rows(
    uri: str, text: io.TextIOWrapper, separator: str, wanted: Sequence[str], needed: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Every cell is text: an etag of 00123 stays 00123, whatever the cells above it look like."""
    reader = csv.reader(text, delimiter=separator, strict=True)
    header = next(reader, [])
    _require(uri, needed, header)
    places = {name: header.index(name) for name in wanted if name in header}
    for cells in reader:
        if not cells:
            continue  # an empty line
        if len(cells) != len(header):
            raise SpecError(f"{uri}: line {reader.line_num} has {len(cells)} cells, the header has {len(header)}")
        yield {name: cells[place] for name, place in places.items()}


def _json_rows(
    uri: str, text: io.TextIOWrapper, wanted: Sequence[str], needed: Sequence[str]
) -> Iterator[dict[str, Any]]:
    columns: list[str] | None = None
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SpecError(f"{uri}: line {number} is not JSON: {error}; expected one object a line") from None
        if not isinstance(row, dict):
            raise SpecError(f"{uri}: line {number} is a {type(row).__name__}; expected one object a line")
        if columns is None:
            _require(uri, needed, list(row))
            columns = [name for name in wanted if name in row]
        yield {name: row.get(name) for name in columns}


def _names(value: object) -> list[str] | None:
    """Candidate classes as a manifest writes them: a list, JSON, or names between commas or semicolons."""
    if value is None:
        return None
    if isinstance(value, list):
        return [str(name) for name in value]
    text = str(value).strip()
    if text.startswith("["):
        try:
            return [str(name) for name in json.loads(text)]
        except json.JSONDecodeError:
            raise SpecError(f"labels {text!r}: neither a JSON list nor names between commas") from None
    return [name.strip() for name in text.replace(";", ",").split(",") if name.strip()]


def _web_list(uri: str, access: store.Access) -> Iterator[Listed]:
    """One address a line; the server's version of an image is not known, so an address stands for its content."""
    lines = [line.strip() for line in store.read_text(uri, access).splitlines()]
    uris = [store.join(store.parent(uri), line) for line in lines if line and not line.startswith("#")]
    for start in range(0, len(uris), ENTRIES_PER_BATCH):
        part = uris[start : start + ENTRIES_PER_BATCH]
        yield Listed(part, [None] * len(part), [None] * len(part))
