"""The formats that are made from the committed answers, now or later: Parquet, COCO, Label Studio, overlays."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.output import catalogue as catalogues
from jobs.output import departed, index, lease, quarantine, report, runs, shards
from jobs.output import marker as markers
from jobs.output.catalogue import Catalogue
from jobs.output.identity import image_numbers
from jobs.output.leftovers import WORK_FOLDER, delete_if_there
from jobs.output.marker import Marker
from jobs.output.parts import Parts, rows_by_image
from tlg import pictures, store
from tlg.answers import records
from tlg.answers.formats import coco, label_studio, overlay
from tlg.errors import InputError, SpecError, StorageError
from tlg.spec import AnnotateSpec

FORMATS = ("parquet", "coco", "label_studio", "overlay")
IMAGES_PER_COCO_FILE = 100_000
TASKS_PER_LABEL_STUDIO_FILE = 20_000
OVERLAYS = 24
OVERLAY_PIXELS = 4_000_000
# Everything but who answered.
ANSWER_COLUMNS = [name for name in records.SCHEMA.names if not name.endswith("_digest")]
LABEL_STUDIO_COLUMNS = [*ANSWER_COLUMNS, "model_digest"]
# Folders of an output that a run's own work rests on: no export may write there.
OWN_FOLDERS = (shards.FOLDER, index.FOLDER, lease.FOLDER, markers.FOLDER, runs.FOLDER, quarantine.FOLDER, WORK_FOLDER)


@dataclass(frozen=True)
class Filter:
    """Which masks an export takes; images stay, so that a set's negatives stay too."""

    min_score: float = 0.0
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise SpecError(f"--min-score {self.min_score:g}: scores lie between 0 and 1")

    def check(self, catalogue: Catalogue) -> None:
        """A class that nobody was asked for is a mistake, not an empty export."""
        known = sorted({one.name for found in catalogue.shards for one in found.classes})
        for name in self.classes:
            if name not in known:
                raise SpecError(f"--class {name}: no answer is of this class; there are {', '.join(known)}")

    def apply(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            if self.classes:
                # An error row names no class and concerns all of them.
                is_error = pc.equal(table["status"], "error")
                table = table.filter(pc.or_(is_error, pc.is_in(table["class_name"], pa.array(self.classes))))
            if self.min_score:
                low = pc.and_(pc.equal(table["status"], "mask"), pc.less(table["score"], self.min_score))
                place = table.schema.get_field_index("status")
                status = pc.if_else(pc.fill_null(low, False), "absent", table["status"])
                table = table.set_column(place, "status", status)
            yield table


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and what there is to say about it."""

    uris: list[str]
    remark: str = ""


def write(spec: AnnotateSpec, summary: runs.RunSummary, catalogue: Catalogue) -> list[str]:
    """The formats a spec asks for, and the report: what has changed since they were written; returns what was."""
    written: list[str] = []
    for name in spec.output.formats:
        if name == "coco":
            parts, asked = _coco(catalogue, catalogue.output, Filter(), spec.output.masks, summary.collection)
            written += parts.update(catalogue, name, asked)
        elif name == "label_studio":
            written += _label_studio(catalogue.output).update(catalogue, name, markers.digest({"format": 1}))
        elif name == "overlay":
            written += _update_overlays(catalogue)
    return written + report.update(catalogue, summary, spec.run.min_score, spec.run.price_per_hour)


def export(
    output: str,
    name: str,
    to: str,
    access: store.Access = store.DEFAULT_ACCESS,
    chosen: Filter = Filter(),
    masks: coco.Masks = "rle",
    listed_only: bool = False,
) -> Exported:
    """Write one format from the committed answers into a folder. `listed_only` leaves out departed images."""
    if name not in FORMATS:
        raise SpecError(f"format '{name}' is unknown; expected one of {', '.join(FORMATS)}")
    output, base = output.rstrip("/"), to.rstrip("/")
    _check_target(output, base, name, access)
    catalogue = catalogues.load(output, access)
    if not catalogue.shards:
        raise StorageError(f"{output}: no committed answers here; expected {shards.FOLDER}/*.parquet", missing=True)
    chosen.check(catalogue)
    if listed_only:
        catalogue = catalogue.leaving_out(departed.read(output, access))
    if base == output:
        markers.remove(output, name, access)  # the next run writes its own again
    if name == "parquet":
        return _export_parquet(catalogue, base, chosen)
    if name == "coco":
        collection = runs.recorded(output, access, last=1)
        root = collection[0]["collection"] if collection else ""
        return Exported(_coco(catalogue, base, chosen, masks, root)[0].write(catalogue, chosen.apply))
    if name == "label_studio":
        return Exported(_label_studio(base).write(catalogue, chosen.apply))
    return Exported([uri for uri, _ in _draw_overlays(catalogue, base, _sample(catalogue, chosen), chosen)])


def as_masks(text: str) -> coco.Masks:
    if text == "rle":
        return "rle"
    if text == "polygon":
        return "polygon"
    raise SpecError(f"masks '{text}' is unknown; expected rle or polygon")


def _check_target(output: str, base: str, name: str, access: store.Access) -> None:
    """No export may overwrite the committed answers, its own output's or another's."""
    for folder in OWN_FOLDERS:
        own = f"{output}/{folder}"
        if base == own or base.startswith(f"{own}/"):
            raise SpecError(f"--to {base}: the output keeps its own files there; choose a folder outside {own}")
    if name == "parquet" and store.listed(f"{store.parent(base)}/{lease.FOLDER}", "*.json", access):
        raise SpecError(f"--to {base}: lies in the output of a job; choose a folder elsewhere")


def _export_parquet(catalogue: Catalogue, base: str, chosen: Filter) -> Exported:
    """Mask rows alone, a file a shard; what an earlier, larger export left is removed."""
    written: list[str] = []
    dropped = {"absent": 0, "error": 0}
    for found in catalogue.shards:
        masks = []
        for table in chosen.apply(catalogue.tables(records.SCHEMA.names, [found])):
            for status in dropped:
                dropped[status] += pc.sum(pc.equal(table["status"], status)).as_py() or 0
            masks.append(table.filter(pc.equal(table["status"], "mask")))
        if sum(map(len, masks)):
            written.append(f"{base}/{shards.shard_name(len(written) + 1)}")
            store.write(written[-1], shards.encode(shards.in_order(pa.concat_tables(masks))), catalogue.access)
    for shard in shards.committed_in(base, catalogue.access):
        if shard.number > len(written):
            store.delete(shard.uri, catalogue.access)
    remark = f"masks only: {dropped['absent']:,} absent and {dropped['error']:,} error rows are left out"
    return Exported(written, remark)


def _coco(catalogue: Catalogue, base: str, chosen: Filter, masks: coco.Masks, root: str) -> tuple[Parts, str]:
    """COCO's files, and the digest of what they depend on besides the answers."""
    newest_first = ((one.class_id, one.name) for found in reversed(catalogue.shards) for one in found.classes)
    known = coco.distinct_categories(newest_first)
    if chosen.classes:
        known = [category for category in known if category[1] in chosen.classes]
    parts = Parts(
        f"{base}/coco",
        "instances",
        IMAGES_PER_COCO_FILE,
        ANSWER_COLUMNS,
        lambda stream, part: coco.write(stream, part, known, masks, root),
    )
    return parts, markers.digest({"format": 1, "masks": masks, "root": root, "categories": known})


def _label_studio(base: str) -> Parts:
    folder = f"{base}/label_studio"
    return Parts(folder, "tasks", TASKS_PER_LABEL_STUDIO_FILE, LABEL_STUDIO_COLUMNS, label_studio.write)


def _update_overlays(catalogue: Catalogue) -> list[str]:
    """Draw what the sample shows for the first time, remove what it no longer shows."""
    output, access = catalogue.output, catalogue.access
    marker = markers.read(output, "overlay", access)
    asked = markers.digest({"format": 1, "count": OVERLAYS})
    if marker and (marker.state, marker.asked) == (catalogue.fingerprint, asked):
        return []
    before: dict[str, str] = marker.made["drawn"] if marker and marker.asked == asked else {}
    sample = _sample(catalogue, Filter())
    runs_of = _runs_of(catalogue, sample)
    kept = {name: run for name, run in before.items() if runs_of.get(int(name[:16], 16)) == run}
    todo = [number for number in sample if number not in {int(name[:16], 16) for name in kept}]
    written = _draw_overlays(catalogue, output, todo, Filter())
    drawn = kept | {image_id: runs_of[int(image_id[:16], 16)] for _, image_id in written}
    for name in before.keys() - drawn.keys():
        delete_if_there(f"{output}/overlay/{name}.png", access)
    Marker(catalogue.fingerprint, asked, {"drawn": drawn}).write(output, "overlay", access)
    return [uri for uri, _ in written]


def _sample(catalogue: Catalogue, chosen: Filter) -> list[int]:
    """Images with masks, in the order of their ids, which is no order at all."""
    found = np.zeros(0, np.uint64)
    if chosen == Filter():
        for one in catalogue.shards:
            marked = one.numbers[(one.masks > 0) & catalogue.holds(one)]
            found = np.unique(np.concatenate([found, marked]))[:OVERLAYS]
    else:
        for table in chosen.apply(catalogue.tables(["image_id", "status", "score", "class_name"])):
            marked = image_numbers(table.filter(pc.equal(table["status"], "mask"))["image_id"])
            found = np.unique(np.concatenate([found, marked]))[:OVERLAYS]
    return found.tolist()


def _runs_of(catalogue: Catalogue, numbers: list[int]) -> dict[int, str]:
    """Which run answered each image."""
    wanted = np.asarray(sorted(numbers), np.uint64)
    found: dict[int, str] = {}
    for one in catalogue.with_images(wanted):
        for place in np.flatnonzero(np.isin(one.numbers, wanted) & catalogue.holds(one)).tolist():
            found[int(one.numbers[place])] = one.origins[one.origin[place]].run_id
    return found


def _draw_overlays(catalogue: Catalogue, base: str, numbers: list[int], chosen: Filter) -> list[tuple[str, str]]:
    """PNGs of some images: (uri, image id) of each."""
    written = []
    for rows in rows_by_image(chosen.apply(_rows_of(catalogue, numbers))):
        try:
            content = store.read(rows[0]["image_uri"], catalogue.access)
            picture = overlay.draw(pictures.decode(content, max_pixels=OVERLAY_PIXELS).pixels, rows)
        except (InputError, StorageError):
            continue  # gone or replaced since it was answered
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        uri = f"{base.rstrip('/')}/overlay/{rows[0]['image_id']}.png"
        store.write(uri, stream.getvalue(), catalogue.access)
        written.append((uri, rows[0]["image_id"]))
    return written


def _rows_of(catalogue: Catalogue, numbers: list[int]) -> Iterator[pa.Table]:
    wanted = np.asarray(sorted(numbers), np.uint64)
    for table in catalogue.tables(ANSWER_COLUMNS, catalogue.with_images(wanted)):
        yield table.filter(pa.array(np.isin(image_numbers(table["image_id"]), wanted)))
