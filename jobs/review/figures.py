"""What the verdicts say about all answers of an output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.output import measured, report, runs
from jobs.output.catalogue import Catalogue
from jobs.review import sample, scan, verdicts
from jobs.review.verdicts import Sorted
from tlg.errors import StorageError
from tlg.review.figures import Judged, estimate

EXAMPLES = 3


def figures(catalogue: Catalogue) -> dict[str, Any]:
    """As JSON, with remarks on what does not count and why."""
    said = verdicts.read(catalogue.output, catalogue.access)
    judged, sorting = judged_now(catalogue, said)
    counted = scan.population(catalogue)
    every, classes = estimate(counted, judged)
    return {
        "state": catalogue.fingerprint,
        "reviewed_at": runs.now(),
        "pictures": counted.pictures,
        "judged_pictures": len({image_id for image_id, _ in sorting.hold}),
        "reviewers": sorted({verdict.reviewer for verdict in sorting.hold.values()}),
        "all": None if every is None else every.as_json(),
        "classes": {of_class.name: of_class.as_json() for of_class in classes},
        "remarks": list(_remarks(sorting)),
    }


def judged_now(catalogue: Catalogue, said: list[verdicts.Verdict]) -> tuple[list[Judged], Sorted]:
    """The verdicts that hold, beside the answers they are about."""
    rows_by_key, has_mask, digests = {}, {}, {}
    for rows in sample.rows_of_ids(catalogue, {verdict.image_id for verdict in said}):
        has_mask[rows[0]["image_id"]] = any(row["status"] == "mask" for row in rows)
        for row in rows:
            key = (row["image_id"], row["class_name"])
            rows_by_key[key], digests[key] = row, verdicts.answer_digest(row)
    sorting = verdicts.sort(said, digests)
    judged = [
        Judged(
            row["class_name"],
            row["status"] == "mask",
            has_mask[row["image_id"]],
            row["score"],
            row["presence"],
            verdict.is_right,
            verdict.is_there,
        )
        for key, verdict in sorting.hold.items()
        for row in [rows_by_key[key]]
    ]
    return judged, sorting


def _remarks(sorting: Sorted) -> Iterator[str]:
    if sorting.stale:
        names = sorted({verdict.image_uri.rsplit("/", 1)[-1] for verdict in sorting.stale})
        yield (
            f"{len(sorting.stale):,} verdicts are about answers that were given again since, or have left ("
            f"{_some(names)}); they are kept and do not count: review again"
        )
    if sorting.disputed:
        texts = [
            f"{last.image_uri.rsplit('/', 1)[-1]}, {last.class_name}: {first.verdict} by {first.reviewer}, "
            f"{last.verdict} by {last.reviewer}"
            for first, last in sorting.disputed
        ]
        yield f"{len(sorting.disputed):,} answers were judged differently by two people, the later verdict counts: " + (
            _some(texts, "; ")
        )


def _some(names: list[str], between: str = ", ") -> str:
    return between.join(names[:EXAMPLES]) + (" ..." if len(names) > EXAMPLES else "")


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The figures as a table."""
    yield f"{told['judged_pictures']:,} of {told['pictures']:,} pictures reviewed; intervals of 95 %"
    if told["all"] is not None:
        head = ("class", "masks", "judged", "precision", "", "missed", "")
        rows = [head, *(_cells(figure) for figure in (*told["classes"].values(), told["all"]))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            yield "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()
    yield from told["remarks"]


def _cells(figure: Mapping[str, Any]) -> tuple[str, ...]:
    judged = figure["judged_masks"] + figure["judged_absent"]
    return (
        figure["name"],
        f"{figure['masks']:,}",
        f"{judged:,}",
        *_told(figure["precision"]),
        *_told(figure["missed"]),
    )


def _told(estimate: Mapping[str, float] | None) -> tuple[str, str]:
    return (
        ("-", "")
        if estimate is None
        else (f"{estimate['value']:.3f}", f"{estimate['low']:.3f} to {estimate['high']:.3f}")
    )


def keep(catalogue: Catalogue, told: dict[str, Any]) -> Iterator[str]:
    """Keep the figures in the output and show them in its report; an output that is only read is no reason to stop."""
    try:
        yield f"kept in {measured.REVIEW.write(catalogue.output, told, catalogue.access)}"
        recorded = runs.recorded(catalogue.output, catalogue.access, last=1)
        for uri in report.show_score(catalogue, recorded[0]) if recorded else ():
            yield f"shown in {uri}"
    except StorageError as error:
        yield f"not kept in the output: {error}"
