"""`report/index.html`: one file that opens from disk and shows what the answers look like."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from jobs.output import marker as markers
from jobs.output import measured, quarantine
from jobs.output.catalogue import Catalogue
from jobs.output.identity import image_numbers
from jobs.output.index import BINS, Index
from jobs.output.marker import Marker
from jobs.output.runs import RunSummary, duration, pace
from tlg import pictures as images
from tlg import store
from tlg.answers.formats import coco, overlay
from tlg.errors import InputError, StorageError

FOLDER = "report"
TEMPLATE = "report.html.jinja"
PER_CLASS = 12
# Contact sheets read a run's own images again; a vocabulary of hundreds must not read thousands.
SHEET_IMAGES = 240
FAILED_SHOWN = 50
THUMBNAIL = 240
# Drawn thumbnails: the next night's sheets show older images without reading them again.
THUMBNAILS = f"{FOLDER}/sheets.json"
SHEET_COLUMNS = ["image_id", "image_uri", "class_name", "class_id", "status", "score", "part", "run_id"]


@dataclass
class ClassStatistics:
    """One class over all answers, and its least certain masks."""

    name: str
    class_id: int
    masks: int = 0
    absent: int = 0
    scores: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    presences: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    sheet: list[Thumbnail] = field(default_factory=list)


@dataclass
class Thumbnail:
    """A mask on its image, as base64 JPEG; `distance` is that of its score to the threshold."""

    distance: float
    image_id: str
    class_name: str
    run_id: str
    uri: str
    score: float
    data: str = ""


def update(catalogue: Catalogue, summary: RunSummary, min_score: float, price_per_hour: float | None) -> list[str]:
    """Write the report where answers, settings, score or review changed since it was; returns what was written."""
    output, access = catalogue.output, catalogue.access
    score = measured.SCORE.read(output, access)
    settings = {"format": 1, "name": summary.name, "min_score": min_score, "price": price_per_hour}
    review = measured.REVIEW.read(output, access)
    shown = {name: figures for name, figures in (("score", score), ("review", review)) if figures is not None}
    digest = markers.digest(settings | shown)
    marker = markers.read(output, "report", access)
    if marker and (marker.state, marker.settings) == (catalogue.fingerprint, digest):
        return []
    from jinja2 import Environment, FileSystemLoader  # a night without news needs none

    fresh = _fresh(catalogue, marker, summary.run_id)
    statistics = _statistics(catalogue)
    _fill_sheets(catalogue, statistics, fresh, min_score)
    failed = quarantine.read(output, access)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.filters |= {"duration": duration, "pace": pace}
    environment.globals |= {"bars": bars, "line_through": line_through}
    html = environment.get_template(TEMPLATE).render(
        summary=summary,
        classes=statistics,
        failed=failed.select(["image_uri", "error_type", "error_message"]).slice(0, FAILED_SHOWN).to_pylist(),
        image_count=catalogue.image_count(),
        masks=sum(of_class.masks for of_class in statistics),
        colours={
            of_class.class_id: "#{:02x}{:02x}{:02x}".format(*overlay.colour(of_class.class_id))
            for of_class in statistics
        },
        score=score,
        score_is_old=score is not None and score["state"] != catalogue.fingerprint,
        review=review,
        review_is_old=review is not None and review["state"] != catalogue.fingerprint,
    )
    uri = f"{output}/{FOLDER}/index.html"
    store.write(uri, html.encode(), access)
    made = {"newest": catalogue.next_number - 1, "min_score": min_score, "price_per_hour": price_per_hour}
    Marker(catalogue.fingerprint, digest, made).write(output, "report", access)
    return [uri]


def show_score(catalogue: Catalogue, run: dict[str, Any]) -> list[str]:
    """Write a recorded run's report again, now that there is a score or review; nothing where there was no report."""
    marker = markers.read(catalogue.output, "report", catalogue.access)
    if marker is None or "min_score" not in marker.made:
        return []
    known = {key: value for key, value in run.items() if key in RunSummary.__dataclass_fields__}
    return update(catalogue, RunSummary(**known), marker.made["min_score"], marker.made["price_per_hour"])


def line_through(curve: list[dict[str, float | None]], key: str, width: int = 200, height: int = 120) -> str:
    """The points of a curve over `min_score` for an SVG polyline; where there is no value there is no point."""
    points = [(point["min_score"], point[key]) for point in curve]
    return " ".join(f"{x * width:.1f},{(1 - y) * height:.1f}" for x, y in points if x is not None and y is not None)


def bars(counts: np.ndarray, width: int = 220, height: int = 56) -> list[dict[str, float]]:
    """Rectangles of a histogram over 0..1; a count of one still shows."""
    top = max(1, int(counts.max()))
    step = width / len(counts)
    tall = [0.0 if count == 0 else max(2.0, height * count / top) for count in counts.tolist()]
    return [
        {"x": place * step, "y": height - tall[place], "width": step - 1, "height": tall[place], "count": count}
        for place, count in enumerate(counts.tolist())
    ]


def _fresh(catalogue: Catalogue, marker: Marker | None, run_id: str) -> list[Index]:
    """Shards that came after the last report, or with this run where there is none: their images may be fetched."""
    if marker is not None:
        return [index for index in catalogue.shards if index.shard.number > marker.made["newest"]]
    return [index for index in catalogue.shards if any(origin.run_id == run_id for origin in index.origins)]


def _statistics(catalogue: Catalogue) -> list[ClassStatistics]:
    counts = [count for index in reversed(catalogue.shards) for count in index.classes]
    known = coco.distinct_categories((count.class_id, count.name) for count in counts)
    statistics = {name: ClassStatistics(name, class_id) for class_id, name in known}
    for count in counts:
        of_class = statistics[count.name]
        of_class.masks += count.masks
        of_class.absent += count.absent
        of_class.scores += np.asarray(count.scores)
        of_class.presences += np.asarray(count.presences)
    return sorted(statistics.values(), key=lambda statistic: statistic.class_id)


def _fill_sheets(catalogue: Catalogue, statistics: list[ClassStatistics], fresh: list[Index], min_score: float) -> None:
    """The least certain masks of each class, among those drawn before and those that have just come."""
    each = max(1, min(PER_CLASS, SHEET_IMAGES // max(1, len(statistics))))
    best: dict[str, list[Thumbnail]] = {of_class.name: [] for of_class in statistics}
    for candidate in [*_drawn_before(catalogue, min_score), *_candidates(catalogue, fresh, min_score)]:
        if candidate.class_name in best:
            best[candidate.class_name].append(candidate)
    for of_class in statistics:
        unique = {(thumbnail.image_id, thumbnail.run_id): thumbnail for thumbnail in reversed(best[of_class.name])}
        of_class.sheet = sorted(unique.values(), key=lambda thumbnail: (thumbnail.distance, thumbnail.image_id))[:each]
    _draw(
        catalogue, [thumbnail for of_class in statistics for thumbnail in of_class.sheet if not thumbnail.data], fresh
    )
    for of_class in statistics:
        of_class.sheet = [thumbnail for thumbnail in of_class.sheet if thumbnail.data]
    drawn = [asdict(thumbnail) for of_class in statistics for thumbnail in of_class.sheet]
    store.write(f"{catalogue.output}/{THUMBNAILS}", json.dumps(drawn).encode(), catalogue.access)


def _candidates(catalogue: Catalogue, fresh: list[Index], min_score: float) -> list[Thumbnail]:
    """Of each class the masks of fresh shards nearest to the threshold."""
    best: dict[str, list[Thumbnail]] = {}
    for table in catalogue.tables(SHEET_COLUMNS, fresh):
        masks = table.filter(pc.and_(pc.equal(table["status"], "mask"), pc.is_null(table["part"])))
        distance = np.abs(masks["score"].to_numpy() - min_score)
        names = masks["class_name"].combine_chunks().dictionary_encode()
        for code, name in enumerate(names.dictionary.to_pylist()):
            places = np.flatnonzero(names.indices.to_numpy() == code)
            nearest = places[np.argsort(distance[places], kind="stable")[:PER_CLASS]]
            rows = zip(distance[nearest].tolist(), masks.take(nearest).to_pylist(), strict=True)
            thumbnails = [
                Thumbnail(far, row["image_id"], name, row["run_id"], row["image_uri"], row["score"])
                for far, row in rows
            ]
            best[name] = sorted(
                [*best.get(name, []), *thumbnails], key=lambda thumbnail: (thumbnail.distance, thumbnail.image_id)
            )[:PER_CLASS]
    return [thumbnail for of_class in best.values() for thumbnail in of_class]


def _drawn_before(catalogue: Catalogue, min_score: float) -> list[Thumbnail]:
    """Thumbnails of earlier reports whose answers still hold."""
    try:
        saved = json.loads(store.read(f"{catalogue.output}/{THUMBNAILS}", catalogue.access))
        thumbnails = [Thumbnail(**values) for values in saved]
    except StorageError as error:
        if not error.missing:
            raise
        return []
    except (ValueError, TypeError):
        return []  # damaged, or of an older version: drawn anew as runs answer
    numbers = np.asarray([int(thumbnail.image_id[:16], 16) for thumbnail in thumbnails], np.uint64)
    holding: set[tuple[int, str]] = set()
    for index in catalogue.with_images(numbers):
        for place in np.flatnonzero(np.isin(index.numbers, numbers) & catalogue.holds(index)).tolist():
            holding.add((int(index.numbers[place]), index.origins[index.origin[place]].run_id))
    current = [thumbnail for thumbnail in thumbnails if (int(thumbnail.image_id[:16], 16), thumbnail.run_id) in holding]
    for thumbnail in current:
        thumbnail.distance = abs(thumbnail.score - min_score)
    return current


def _draw(catalogue: Catalogue, wanted: Iterable[Thumbnail], fresh: list[Index]) -> None:
    """Fill in the pictures; none where the image is gone or was replaced since."""
    missing = {(thumbnail.image_id, thumbnail.class_name): thumbnail for thumbnail in wanted}
    if not missing:
        return
    numbers = np.unique(image_numbers([image_id for image_id, _ in missing]))
    columns = [*SHEET_COLUMNS, "rle"]
    pixels: dict[str, np.ndarray | None] = {}
    recent = {index.shard.number for index in fresh}
    those = [index for index in catalogue.with_images(numbers) if index.shard.number in recent]
    for table in catalogue.tables(columns, those):
        for row in table.filter(np.isin(image_numbers(table["image_id"]), numbers)).to_pylist():
            thumbnail = missing.get((row["image_id"], row["class_name"]))
            if thumbnail is None or row["status"] != "mask" or row["part"] is not None:
                continue
            if thumbnail.image_id not in pixels:
                pixels[thumbnail.image_id] = _pixels(thumbnail.uri, catalogue.access)
            picture = pixels[thumbnail.image_id]
            if picture is not None:
                thumbnail.data = _as_jpeg(picture, row)


def _pixels(uri: str, access: store.Access) -> np.ndarray | None:
    try:
        return images.decode(store.read(uri, access), THUMBNAIL * THUMBNAIL * 4).pixels
    except (InputError, StorageError):
        return None


def _as_jpeg(picture: np.ndarray, row: dict[str, Any]) -> str:
    stream = io.BytesIO()
    overlay.draw(picture, [row], THUMBNAIL).save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()
