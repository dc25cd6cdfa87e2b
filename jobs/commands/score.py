"""`tlg score`: how good an output's answers are on pictures whose truth is known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.commands import truth as truths
from jobs.commands.truth import Names, PictureTruth, Truth
from jobs.output import catalogue as catalogues
from jobs.output import measured, report, runs, shards
from jobs.output.catalogue import Catalogue
from jobs.output.parts import Rows
from jobs.output.selection import Selection
from tlg import store
from tlg.answers import records, scoring
from tlg.answers.formats import coco
from tlg.answers.scoring import ClassScore
from tlg.errors import InputError, SpecError, StorageError

COLUMNS = ["image_uri", "height", "width", "class_name", "status", "score", "presence", "rle", "part"]
EXAMPLES = 3


@dataclass
class Scored:
    """The figures by class, and what could not be compared."""

    classes: dict[str, ClassScore] = field(default_factory=dict)
    answered: int = 0
    compared: int = 0
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def score(
    output: str, place: str, precision: float, access: store.Access = store.DEFAULT_ACCESS
) -> tuple[dict[str, Any], list[str]]:
    """The figures as JSON and as lines of text. They are kept in the output, whose report shows them."""
    if not 0 < precision <= 1:
        raise SpecError(f"--precision {precision:g}: a share of masks that are right, above 0 and up to 1")
    output = output.rstrip("/")
    catalogue = catalogues.load(output, access)
    if not catalogue.shards:
        raise StorageError(f"{output}: no committed answers here; expected {shards.FOLDER}/*.parquet", missing=True)
    recorded = runs.recorded(output, access, last=1)
    scored = compare(catalogue, truths.load(place, access), recorded[0]["collection"] if recorded else "")
    figures = _figures(scored, place, precision, catalogue.fingerprint)
    lines = [*_table(figures), *figures["remarks"], *_kept(catalogue, figures, recorded)]
    return figures, lines


def compare(catalogue: Catalogue, truth: Truth, root: str) -> Scored:
    """Every answered image against its truth, where there is one."""
    names, scored = Names.of(truth), Scored()
    class_names: set[str] = set()
    missing = ""
    for rows in Selection(catalogue, catalogue.output).images(COLUMNS):
        if rows[0]["status"] == "error":
            continue
        scored.answered += 1
        class_names |= {row["class_name"] for row in rows}
        place = coco.file_name(rows[0]["image_uri"], root)
        name = names.find(place)
        if name is None:
            missing = missing or place
            continue
        try:
            _compare_image(scored, rows, truth.read(name), truth.classes)
            scored.compared += 1
        except (InputError, StorageError) as error:
            scored.left_out.append(f"{name}: {error}")
    scored.remarks = list(_remarks(scored, truth, names, class_names, missing))
    return scored


def _compare_image(scored: Scored, rows: Rows, known: PictureTruth, classes: Iterable[str]) -> None:
    height, width = rows[0]["height"], rows[0]["width"]
    if (known.height, known.width) != (height, width):
        raise InputError(f"the truth is {known.width}x{known.height} pixels, the picture {width}x{height}")
    counts_HW = np.ones((height, width), bool) if known.ignored is None else ~known.ignored
    for row in records.class_rows(rows):
        name = row["class_name"]
        if name not in classes:
            continue
        of_class = scored.classes.setdefault(name, ClassScore(name))
        truth_HW = known.masks.get(name, np.zeros((height, width), bool)) & counts_HW
        answer_HW = records.decode_mask(row["rle"]) & counts_HW if row["status"] == "mask" else None
        of_class.add(answer_HW, truth_HW, row["score"], row["presence"])


def _remarks(scored: Scored, truth: Truth, names: Names, class_names: set[str], missing: str) -> Iterator[str]:
    """What was not compared, and why; raises SpecError where nothing was."""
    unknown = sorted(set(truth.names()) - names.used)
    if not names.used:
        raise SpecError(
            f"none of the {len(set(unknown)):,} pictures of the truth is among the {scored.answered:,} answered ones: "
            f"the truth has {unknown[0]}, the output {missing}; names are compared without their suffix"
        )
    if not scored.classes and not scored.left_out:
        raise SpecError(
            f"the truth has none of the classes asked: it knows {', '.join(sorted(truth.classes)) or 'no class'}, "
            f"the output {', '.join(sorted(class_names))}"
        )
    if unknown:
        yield f"{len(unknown):,} pictures of the truth are not answered: {_some(unknown)}"
    if scored.left_out:
        yield f"{len(scored.left_out):,} pictures left out: {_some(scored.left_out, '; ')}"
    for name in sorted(truth.classes - class_names):
        near = difflib.get_close_matches(name, class_names, n=1)
        yield f"class '{name}' of the truth was not asked" + (f"; did you mean '{near[0]}'?" if near else "")
    if others := sorted(class_names - truth.classes):
        yield f"the truth says nothing of {', '.join(others)}"


def _some(names: list[str], between: str = ", ") -> str:
    return between.join(names[:EXAMPLES]) + (" ..." if len(names) > EXAMPLES else "")


def _figures(scored: Scored, place: str, precision: float, state: str) -> dict[str, Any]:
    classes = [scored.classes[name] for name in sorted(scored.classes)]
    return {
        "truth": place,
        "state": state,
        "scored_at": runs.now(),
        "answered_images": scored.answered,
        "compared_images": scored.compared,
        "wished_precision": precision,
        "right_iou": scoring.RIGHT_IOU,
        "all": scoring.as_json(classes, precision),
        "classes": {of_class.name: scoring.as_json([of_class], precision) for of_class in classes},
        "remarks": scored.remarks,
    }


def _table(figures: Mapping[str, Any]) -> list[str]:
    wished = figures["wished_precision"]
    compared = f"{figures['compared_images']:,} of {figures['answered_images']:,} answered images have truth; "
    head = ("class", "images", "IoU", "precision", "recall", "missed", "false", f"min_score for {wished:g}")
    rows = [
        head,
        *(_cells(name, of_class) for name, of_class in figures["classes"].items()),
        _cells("all", figures["all"]),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return [f"{compared}a mask is right from an IoU of {figures['right_iou']:g}", *lines]


def _cells(name: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    presence = figures["presence"]
    shares = (_share(figures[key]) for key in ("iou", "precision", "recall"))
    suggested = figures["suggested_min_score"]
    return (
        name,
        f"{figures['images']:,}",
        *shares,
        f"{presence['missed']:,}",
        f"{presence['false']:,}",
        "none" if suggested is None else f"{suggested:.3f}",
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _kept(catalogue: Catalogue, figures: dict[str, Any], recorded: list[dict[str, Any]]) -> Iterator[str]:
    """Keep the figures in the output and show them in its report; an output that is only read is no reason to stop."""
    try:
        yield f"kept in {measured.SCORE.write(catalogue.output, figures, catalogue.access)}"
        if recorded:
            for uri in report.show_score(catalogue, recorded[0]):
                yield f"shown in {uri}"
    except StorageError as error:
        yield f"not kept in the output: {error}"
