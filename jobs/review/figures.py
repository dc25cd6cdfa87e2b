"""What the verdicts say about all answers of an output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.output import report, reviewed, runs
from jobs.output.catalogue import Catalogue
from jobs.review import sample, scan, verdicts
from jobs.review.verdicts import Sorted
from tlg.errors import StorageError
from tlg.review.figures import Judged, estimate

EXAMPLES = 3


def figures(catalogue: Catalogue) -> dict[str, Any]:
    """As JSON, with remarks on what does not count and why."""
    said = verdicts.read(catalogue.output, catalogue.access)
    judged, found = judged_now(catalogue, said)
    counted = scan.population(catalogue)
    every, classes = estimate(counted, judged)
    return {
        "state": catalogue.fingerprint,
        "reviewed_at": runs.now(),
        "pictures": counted.pictures,
        "judged_pictures": len({image_id for image_id, _ in found.hold}),
        "reviewers": sorted({one.reviewer for one in found.hold.values()}),
        "all": None if every is None else every.as_json(),
        "classes": {one.name: one.as_json() for one in classes},
        "remarks": list(_remarks(found)),
    }


def judged_now(catalogue: Catalogue, said: list[verdicts.Verdict]) -> tuple[list[Judged], Sorted]:
    """The verdicts that hold, beside the answers they are about."""
    rows_by_key, has_mask, digests = {}, {}, {}
    for rows in sample.rows_of_ids(catalogue, {one.image_id for one in said}):
        has_mask[rows[0]["image_id"]] = any(row["status"] == "mask" for row in rows)
        for row in rows:
            key = (row["image_id"], row["class_name"])
            rows_by_key[key], digests[key] = row, verdicts.answer_digest(row)
    found = verdicts.sort(said, digests)
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
        for key, verdict in found.hold.items()
        for row in [rows_by_key[key]]
    ]
    return judged, found


def _remarks(found: Sorted) -> Iterator[str]:
    if found.stale:
        names = sorted({one.image_uri.rsplit("/", 1)[-1] for one in found.stale})
        yield (
            f"{len(found.stale):,} verdicts are about answers that were given again since, or have left ("
            f"{_some(names)}); they are kept and do not count: review again"
        )
    if found.disputed:
        texts = [
            f"{last.image_uri.rsplit('/', 1)[-1]}, {last.class_name}: {one.verdict} by {one.reviewer}, "
            f"{last.verdict} by {last.reviewer}"
            for one, last in found.disputed
        ]
        yield f"{len(found.disputed):,} answers were judged differently by two people, the later verdict counts: " + (
            _some(texts, "; ")
        )


def _some(names: list[str], between: str = ", ") -> str:
    return between.join(names[:EXAMPLES]) + (" ..." if len(names) > EXAMPLES else "")


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The figures as a table."""
    yield f"{told['judged_pictures']:,} of {told['pictures']:,} pictures reviewed; intervals of 95 %"
    if told["all"] is not None:
        head = ("class", "masks", "judged", "precision", "", "missed", "")
        rows = [head, *(_cells(one) for one in (*told["classes"].values(), told["all"]))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            yield "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()
    yield from told["remarks"]


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    judged = one["judged_masks"] + one["judged_absent"]
    return (one["name"], f"{one['masks']:,}", f"{judged:,}", *_told(one["precision"]), *_told(one["missed"]))


def _told(found: Mapping[str, float] | None) -> tuple[str, str]:
    return ("-", "") if found is None else (f"{found['value']:.3f}", f"{found['low']:.3f} to {found['high']:.3f}")


def keep(catalogue: Catalogue, told: dict[str, Any]) -> Iterator[str]:
    """Keep the figures in the output and show them in its report; an output that is only read is no reason to stop."""
    try:
        yield f"kept in {reviewed.write(catalogue.output, told, catalogue.access)}"
        recorded = runs.recorded(catalogue.output, catalogue.access, last=1)
        for uri in report.show_score(catalogue, recorded[0]) if recorded else ():
            yield f"shown in {uri}"
    except StorageError as error:
        yield f"not kept in the output: {error}"
