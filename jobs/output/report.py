"""`report/index.html`: one file that opens from disk and shows what the answers look like."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader

from jobs.output import shards
from jobs.output.runs import RunSummary, duration
from tlg import pictures as images
from tlg import store
from tlg.answers.formats import overlay
from tlg.errors import InputError, StorageError

TEMPLATE = "report.html.jinja"
BINS = 20
PER_CLASS = 12
# Contact sheets read a run's own images again; a vocabulary of hundreds must not read thousands.
SHEET_IMAGES = 240
FAILED_SHOWN = 50
THUMBNAIL = 240
# Drawn thumbnails by answer: the next night's sheets show older images without reading them again.
THUMBNAILS = "report/thumbnails.json"

Thumbnails = dict[str, str]


@dataclass
class ClassStatistics:
    name: str
    class_id: int
    masks: int = 0
    absent: int = 0
    scores: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    presences: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    uncertain: list[tuple[float, str, str]] = field(default_factory=list)  # distance to the threshold, image, run
    sheet: list[dict[str, str]] = field(default_factory=list)


def write(output: str, summary: RunSummary, min_score: float, access: store.Access) -> None:
    thumbnails = _read_thumbnails(output, access)
    statistics, failed, image_count = _gather(output, min_score, summary.run_id, thumbnails, access)
    _draw_sheets(output, statistics, thumbnails, access)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.filters["duration"] = duration
    environment.globals["bars"] = bars
    html = environment.get_template(TEMPLATE).render(
        summary=summary,
        classes=statistics,
        failed=failed,
        image_count=image_count,
        masks=sum(one.masks for one in statistics),
        colours={one.class_id: "#{:02x}{:02x}{:02x}".format(*overlay.colour(one.class_id)) for one in statistics},
    )
    store.write(f"{output.rstrip('/')}/report/index.html", html.encode(), access)


def bars(counts: np.ndarray, width: int = 220, height: int = 56) -> list[dict[str, float]]:
    """Rectangles of a histogram over 0..1; a count of one still shows."""
    top = max(1, int(counts.max()))
    step = width / len(counts)
    tall = [0.0 if count == 0 else max(2.0, height * count / top) for count in counts.tolist()]
    return [
        {"x": place * step, "y": height - tall[place], "width": step - 1, "height": tall[place], "count": count}
        for place, count in enumerate(counts.tolist())
    ]


def _gather(
    output: str, min_score: float, run_id: str, thumbnails: Thumbnails, access: store.Access
) -> tuple[list[ClassStatistics], list[dict[str, Any]], int]:
    found: dict[int, ClassStatistics] = {}
    failed: list[dict[str, Any]] = []
    image_count = 0
    columns = ["image_uri", "class_name", "class_id", "status", "score", "presence", "error_type", "error_message"]
    columns.append("run_id")
    for table in shards.current(output, access, columns):
        image_count += len(pc.unique(table["image_id"]))
        errors = table.filter(pc.equal(table["status"], "error"))
        failed += errors.slice(0, max(0, FAILED_SHOWN - len(failed))).to_pylist()
        answered = table.filter(pc.not_equal(table["status"], "error"))
        for class_id in pc.unique(answered["class_id"]).to_pylist():
            rows = answered.filter(pc.equal(answered["class_id"], class_id))
            one = found.setdefault(class_id, ClassStatistics(rows["class_name"][0].as_py(), class_id))
            _add(one, rows, min_score, run_id, thumbnails)
    return [found[class_id] for class_id in sorted(found)], failed, image_count


def _add(one: ClassStatistics, rows: pa.Table, min_score: float, run_id: str, thumbnails: Thumbnails) -> None:
    scores = rows["score"].to_numpy()
    is_mask = np.asarray(pc.equal(rows["status"], "mask").to_numpy(zero_copy_only=False), bool)
    one.masks += int(is_mask.sum())
    one.absent += int((~is_mask).sum())
    one.scores += np.histogram(scores, BINS, (0, 1))[0]
    one.presences += np.histogram(rows["presence"].to_numpy(), BINS, (0, 1))[0]
    distance = np.where(is_mask, np.abs(scores - min_score), np.inf)
    ids, runs = rows["image_id"].to_pylist(), rows["run_id"].to_pylist()
    # Only what this run has read, or an earlier one has drawn: a report never fetches old images again.
    shown = [
        run == run_id or _key(image, one.class_id, run) in thumbnails for image, run in zip(ids, runs, strict=True)
    ]
    distance[~np.array(shown, bool)] = np.inf
    nearest = [place for place in np.argsort(distance, kind="stable")[:PER_CLASS].tolist() if distance[place] < np.inf]
    one.uncertain = sorted([*one.uncertain, *((float(distance[p]), ids[p], runs[p]) for p in nearest)])[:PER_CLASS]


def _key(image_id: str, class_id: int, run_id: str) -> str:
    return f"{image_id}/{class_id}/{run_id}"


def _read_thumbnails(output: str, access: store.Access) -> Thumbnails:
    try:
        return json.loads(store.read(f"{output.rstrip('/')}/{THUMBNAILS}", access))
    except (StorageError, ValueError):
        return {}  # none yet, or damaged: drawn anew as runs answer


def _draw_sheets(output: str, statistics: list[ClassStatistics], thumbnails: Thumbnails, access: store.Access) -> None:
    each = max(1, min(PER_CLASS, SHEET_IMAGES // max(1, len(statistics))))
    wanted = {image_id for one in statistics for _, image_id, _ in one.uncertain[:each]}
    if not wanted:
        return
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    names = pa.array(sorted(wanted), pa.string())
    for table in shards.current(output, access):
        for row in table.filter(pc.is_in(table["image_id"], names)).to_pylist():
            if row["status"] == "mask":
                rows[row["image_id"], row["class_id"]] = row
    pictures: dict[str, np.ndarray] = {}
    drawn: Thumbnails = {}
    for one in statistics:
        for _, image_id, run_id in one.uncertain[:each]:
            row = rows.get((image_id, one.class_id))
            if row is None:
                continue
            key = _key(image_id, one.class_id, run_id)
            data = thumbnails.get(key) or _drawn(row, pictures, access)
            if data is None:
                continue
            drawn[key] = data
            one.sheet.append({"data": data, "uri": row["image_uri"], "score": f"{row['score']:.2f}"})
    store.write(f"{output.rstrip('/')}/{THUMBNAILS}", json.dumps(drawn).encode(), access)


def _drawn(row: dict[str, Any], pictures: dict[str, np.ndarray], access: store.Access) -> str | None:
    """The overlay of one answer as base64 JPEG; None where the image is gone or was replaced since."""
    image_id = row["image_id"]
    if image_id not in pictures:
        try:
            content = store.read(row["image_uri"], access)
            pictures[image_id] = images.decode(content, THUMBNAIL * THUMBNAIL * 4).pixels
        except (InputError, StorageError):
            return None
    stream = io.BytesIO()
    overlay.draw(pictures[image_id], [row], THUMBNAIL).save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()
