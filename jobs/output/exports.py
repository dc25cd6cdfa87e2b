"""Everything that is made from the committed answers, now or later: quarantine, COCO, Label Studio, overlays."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.output import report, runs, shards
from tlg import pictures, store
from tlg.answers.formats import coco, label_studio, overlay
from tlg.errors import InputError, SpecError, StorageError
from tlg.spec import AnnotateSpec

FORMATS = ("parquet", "coco", "label_studio", "overlay")
IMAGES_PER_COCO_FILE = 100_000
TASKS_PER_LABEL_STUDIO_FILE = 20_000
OVERLAYS = 24
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Filter:
    """Which masks an export takes; images stay, so that a set's negatives stay too."""

    min_score: float = 0.0
    classes: tuple[str, ...] = ()

    def apply(self, table: pa.Table) -> pa.Table:
        if self.classes:
            # An error row names no class and concerns all of them.
            is_error = pc.equal(table["status"], "error")
            table = table.filter(pc.or_(is_error, pc.is_in(table["class_name"], pa.array(self.classes))))
        if self.min_score:
            low = pc.and_(pc.equal(table["status"], "mask"), pc.less(table["score"], self.min_score))
            place = table.schema.get_field_index("status")
            status = pc.if_else(pc.fill_null(low, False), "absent", table["status"])
            table = table.set_column(place, "status", status)
        return table


def write(spec: AnnotateSpec, summary: runs.RunSummary, access: store.Access) -> None:
    """The formats a spec asks for, and the report."""
    for name in spec.output.formats:
        export(spec.output.uri, name, access, masks=spec.output.masks)
    report.write(spec.output.uri, summary, spec.run.min_score, access)


def are_complete(spec: AnnotateSpec, access: store.Access) -> bool:
    """Whether every asked format is there, so that a run with nothing to do can leave them alone."""
    places = {"coco": "coco", "label_studio": "label_studio", "overlay": "overlay"}
    wanted = [places[name] for name in spec.output.formats if name in places] + ["report"]
    base = spec.output.uri.rstrip("/")
    return all(store.listed(f"{base}/{place}", "*", access) for place in wanted)


def export(
    output: str,
    name: str,
    access: store.Access = store.DEFAULT_ACCESS,
    chosen: Filter = Filter(),
    masks: coco.Masks = "rle",
    to: str | None = None,
) -> list[str]:
    """Write one format from the committed answers, by default into the output itself; returns what was written."""
    if name not in FORMATS:
        raise SpecError(f"format '{name}' is unknown; expected one of {', '.join(FORMATS)}")
    if not shards.committed(output, access):
        if to is None:
            return []
        raise StorageError(f"{output}: no committed answers here; expected {shards.FOLDER}/*.parquet", missing=True)
    base = (to or output).rstrip("/")
    if name == "parquet":
        return _export_parquet(output, base, access, chosen) if to else []
    if name == "coco":
        return _export_coco(output, base, access, chosen, masks)
    if name == "label_studio":
        return _export_label_studio(output, base, access, chosen)
    return _export_overlays(output, base, access, chosen)


def as_masks(text: str) -> coco.Masks:
    if text == "rle":
        return "rle"
    if text == "polygon":
        return "polygon"
    raise SpecError(f"masks '{text}' is unknown; expected rle or polygon")


def rows_by_image(tables: Iterable[pa.Table]) -> Iterator[list[dict[str, Any]]]:
    """The rows of one image after the other; they lie together in a shard."""
    for table in tables:
        waiting: list[dict[str, Any]] = []
        for batch in table.to_batches(ROWS_AT_ONCE):
            for row in batch.to_pylist():
                if waiting and row["image_id"] != waiting[0]["image_id"]:
                    yield waiting
                    waiting = []
                waiting.append(row)
        if waiting:
            yield waiting


def write_quarantine(output: str, access: store.Access) -> int:
    """`quarantine/errors.parquet`: every image whose current row is an error, replaced as a whole."""
    uri = f"{output.rstrip('/')}/quarantine/errors.parquet"
    failed = [table.filter(pc.equal(table["status"], "error")) for table in shards.current(output, access)]
    failed = [table for table in failed if len(table)]
    if failed:
        store.write(uri, shards.encode(pa.concat_tables(failed)), access)
        return sum(map(len, failed))
    if store.exists(uri, access):
        store.delete(uri, access)
    return 0


def categories(output: str, access: store.Access) -> list[tuple[int, str]]:
    """Every class that was asked of any image."""
    found: set[tuple[int, str]] = set()
    for table in shards.current(output, access, ["class_id", "class_name"]):
        pairs = table.select(["class_id", "class_name"]).group_by(["class_id", "class_name"]).aggregate([])
        found.update((one["class_id"], one["class_name"]) for one in pairs.to_pylist() if one["class_id"] is not None)
    return sorted(found)


def _answers(output: str, access: store.Access, chosen: Filter) -> Iterator[list[dict[str, Any]]]:
    return rows_by_image(chosen.apply(table) for table in shards.current(output, access))


def _export_parquet(output: str, base: str, access: store.Access, chosen: Filter) -> list[str]:
    written = []
    for number, table in enumerate(shards.current(output, access), start=1):
        kept = chosen.apply(table)
        kept = kept.filter(pc.equal(kept["status"], "mask"))
        if len(kept):
            written.append(f"{base}/part-{number:08d}.parquet")
            store.write(written[-1], shards.encode(kept), access)
    return written


def _export_coco(output: str, base: str, access: store.Access, chosen: Filter, masks: coco.Masks) -> list[str]:
    known = [one for one in categories(output, access) if not chosen.classes or one[1] in chosen.classes]
    root = _collection(output, access)
    return _in_parts(
        _answers(output, access, chosen),
        IMAGES_PER_COCO_FILE,
        f"{base}/coco",
        "instances",
        access,
        lambda stream, part: coco.write(stream, part, known, masks, root),
    )


def _export_label_studio(output: str, base: str, access: store.Access, chosen: Filter) -> list[str]:
    return _in_parts(
        _answers(output, access, chosen),
        TASKS_PER_LABEL_STUDIO_FILE,
        f"{base}/label_studio",
        "tasks",
        access,
        label_studio.write,
    )


def _in_parts(
    answers: Iterator[list[dict[str, Any]]],
    images_per_file: int,
    folder: str,
    stem: str,
    access: store.Access,
    write_part: Callable[[IO[str], Iterable[list[dict[str, Any]]]], object],
) -> list[str]:
    """`stem.json`, or `stem-00000.json`, `stem-00001.json`, ... where there is more than one file's worth."""
    with tempfile.TemporaryDirectory() as scratch:
        files: list[Path] = []
        while first := next(answers, None):
            files.append(Path(scratch) / f"{stem}-{len(files):05d}.json")
            with files[-1].open("w", encoding="utf-8") as stream:
                write_part(stream, chain([first], islice(answers, images_per_file - 1)))
        if not files:
            return []
        names = [f"{stem}.json"] if len(files) == 1 else [file.name for file in files]
        for file, name in zip(files, names, strict=True):
            store.upload(file, f"{folder}/{name}", access)
    stale = [entry.uri for entry in store.listed(folder, f"{stem}*.json", access)]
    for uri in stale:
        if uri.rsplit("/", 1)[1] not in names:
            store.delete(uri, access)
    return [f"{folder}/{name}" for name in names]


def _export_overlays(output: str, base: str, access: store.Access, chosen: Filter) -> list[str]:
    """PNGs of a sample: images with masks, in the order of their ids, which is no order at all."""
    candidates: list[tuple[str, str]] = []
    for table in shards.current(output, access, ["image_id", "image_uri", "status", "score", "class_name"]):
        marked = chosen.apply(table)
        marked = marked.filter(pc.equal(marked["status"], "mask")).select(["image_id", "image_uri"])
        pairs = {(row["image_id"], row["image_uri"]) for row in marked.to_pylist()}
        candidates = sorted({*candidates, *pairs})[:OVERLAYS]
    wanted = {image_id for image_id, _ in candidates}
    written = []
    for rows in answers_of(output, wanted, access):
        try:
            content = store.read(rows[0]["image_uri"], access)
            picture = overlay.draw(pictures.decode(content, max_pixels=4_000_000).pixels, rows)
        except (InputError, StorageError):
            continue  # gone or replaced since it was answered
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        written.append(f"{base}/overlay/{rows[0]['image_id']}.png")
        store.write(written[-1], stream.getvalue(), access)
    return written


def answers_of(output: str, image_ids: set[str], access: store.Access) -> Iterator[list[dict[str, Any]]]:
    """The current rows of some images."""
    wanted = pa.array(sorted(image_ids), pa.string())
    for table in shards.current(output, access):
        yield from rows_by_image([table.filter(pc.is_in(table["image_id"], wanted))])


def _collection(output: str, access: store.Access) -> str:
    latest = runs.recorded(output, access, last=1)
    return latest[0]["collection"] if latest else ""
