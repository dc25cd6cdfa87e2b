"""`tlg diff`: what two runs say differently about the same pictures, before one replaces the other."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.commands.review import load
from jobs.output.catalogue import Catalogue
from jobs.output.identity import image_numbers
from jobs.output.parts import rows_by_image
from jobs.review.verdicts import overlap
from tlg import store
from tlg.answers import records
from tlg.answers.scoring import PRESENT
from tlg.errors import SpecError

COLUMNS = ["image_id", "image_uri", "class_name", "status", "score", "presence", "rle", "part", "height", "width"]
# So many images of one run are in memory at once.
IMAGES_AT_ONCE = 20_000
UNCHANGED_IOU = 0.999
MOST_CHANGED = 10
Key = tuple[str, str]


@dataclass
class ClassChange:
    """One class over the pictures that both runs answered."""

    name: str
    pictures: int = 0
    unchanged: int = 0
    appeared: int = 0
    vanished: int = 0
    ious: list[float] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        mean = f"{float(np.mean(self.ious)):.3f}" if self.ious else "-"
        return (self.name, *(f"{one:,}" for one in (self.pictures, self.unchanged, self.appeared, self.vanished)), mean)


@dataclass
class Difference:
    classes: dict[str, ClassChange] = field(default_factory=dict)
    images: int = 0
    changed: int = 0
    only_before: int = 0
    only_after: int = 0
    # (how much changed, picture, what)
    most: list[tuple[float, str, str]] = field(default_factory=list)


def diff(before: str, after: str, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    found = compare(load(before, access), load(after, access))
    if not found.images:
        raise SpecError(
            f"{before} and {after} have no picture in common: {found.only_before:,} are answered in the first alone, "
            f"{found.only_after:,} in the second; compare two runs over one collection"
        )
    yield f"{found.images:,} pictures compared, {found.changed:,} of them changed"
    head = ("class", "pictures", "unchanged", "appeared", "vanished", "mean IoU of masks")
    rows = [head, *(found.classes[name].cells() for name in sorted(found.classes))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([row[0].ljust(widths[0]), *cells])
    if found.only_before or found.only_after:
        yield f"in the first alone: {found.only_before:,} pictures; in the second alone: {found.only_after:,}"
    if found.most:
        yield "changed most:"
        yield from (f"  {uri}: {what}" for _, uri, what in sorted(found.most, reverse=True))


def compare(before: Catalogue, after: Catalogue) -> Difference:
    """Picture by picture, a part of them at a time."""
    found = Difference()
    parts = 1 + max(before.image_count(), after.image_count()) // IMAGES_AT_ONCE
    for part in range(parts):
        known = _images(before, part, parts)
        for image_id, rows in _images(after, part, parts).items():
            earlier = known.pop(image_id, None)
            if earlier is None:
                found.only_after += 1
            else:
                _compare(found, earlier, rows)
        found.only_before += len(known)
    return found


def _images(catalogue: Catalogue, part: int, parts: int) -> dict[str, dict[str, Any]]:
    """Class -> row of each image in one part of all."""
    images = {}
    for rows in rows_by_image(_tables(catalogue, part, parts)):
        if rows[0]["status"] != "error":
            images[rows[0]["image_id"]] = {row["class_name"]: row for row in records.class_rows(rows)}
    return images


def _tables(catalogue: Catalogue, part: int, parts: int) -> Iterator[pa.Table]:
    for table in catalogue.tables(COLUMNS):
        yield table.filter(pa.array(image_numbers(table["image_id"]) % np.uint64(parts) == part))


def _compare(found: Difference, earlier: dict[str, Any], later: dict[str, Any]) -> None:
    found.images += 1
    is_changed = False
    for name in earlier.keys() & later.keys():
        one, other = earlier[name], later[name]
        change = found.classes.setdefault(name, ClassChange(name))
        change.pictures += 1
        iou, what = _change(one, other)
        was, is_now = one["presence"] >= PRESENT, other["presence"] >= PRESENT
        change.appeared += is_now and not was
        change.vanished += was and not is_now
        if one["rle"] and other["rle"]:
            change.ious.append(iou)
        if iou >= UNCHANGED_IOU and was == is_now:
            change.unchanged += 1
            continue
        is_changed = True
        heapq.heappush(found.most, (1 - iou, other["image_uri"], f"{name}: {what}"))
        if len(found.most) > MOST_CHANGED:
            heapq.heappop(found.most)
    found.changed += is_changed


def _change(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, str]:
    """How much of the mask is the same, and what to say."""
    presence = f"presence {one['presence']:.2f} before, {other['presence']:.2f} after"
    if (one["rle"] is None) != (other["rle"] is None):
        return 0.0, f"{'no mask' if one['rle'] is None else 'a mask'} before, {presence}"
    if one["rle"] is None:
        return 1.0, presence
    if list(one["rle"]["size"]) != list(other["rle"]["size"]):
        return 0.0, f"the picture was {one['width']}x{one['height']} pixels, it is {other['width']}x{other['height']}"
    iou = overlap(one["rle"], other["rle"])
    return iou, f"IoU {iou:.2f} of the two masks"
