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
        return (
            self.name,
            *(f"{count:,}" for count in (self.pictures, self.unchanged, self.appeared, self.vanished)),
            mean,
        )


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
    difference = compare(load(before, access), load(after, access))
    if not difference.images:
        raise SpecError(
            f"{before} and {after} have no picture in common: {difference.only_before:,} are answered in the first "
            f"alone, {difference.only_after:,} in the second; compare two runs over one collection"
        )
    yield f"{difference.images:,} pictures compared, {difference.changed:,} of them changed"
    head = ("class", "pictures", "unchanged", "appeared", "vanished", "mean IoU of masks")
    rows = [head, *(difference.classes[name].cells() for name in sorted(difference.classes))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([row[0].ljust(widths[0]), *cells])
    if difference.only_before or difference.only_after:
        yield f"in the first alone: {difference.only_before:,} pictures; in the second alone: {difference.only_after:,}"
    if difference.most:
        yield "changed most:"
        yield from (f"  {uri}: {what}" for _, uri, what in sorted(difference.most, reverse=True))


def compare(before: Catalogue, after: Catalogue) -> Difference:
    """Picture by picture, a part of them at a time."""
    difference = Difference()
    parts = 1 + max(before.image_count(), after.image_count()) // IMAGES_AT_ONCE
    for part in range(parts):
        known = _images(before, part, parts)
        for image_id, rows in _images(after, part, parts).items():
            earlier = known.pop(image_id, None)
            if earlier is None:
                difference.only_after += 1
            else:
                _compare(difference, earlier, rows)
        difference.only_before += len(known)
    return difference


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


def _compare(difference: Difference, earlier: dict[str, Any], later: dict[str, Any]) -> None:
    difference.images += 1
    is_changed = False
    for name in earlier.keys() & later.keys():
        old, new = earlier[name], later[name]
        change = difference.classes.setdefault(name, ClassChange(name))
        change.pictures += 1
        iou, what = _change(old, new)
        was, is_now = old["presence"] >= PRESENT, new["presence"] >= PRESENT
        change.appeared += is_now and not was
        change.vanished += was and not is_now
        if old["rle"] and new["rle"]:
            change.ious.append(iou)
        if iou >= UNCHANGED_IOU and was == is_now:
            change.unchanged += 1
            continue
        is_changed = True
        heapq.heappush(difference.most, (1 - iou, new["image_uri"], f"{name}: {what}"))
        if len(difference.most) > MOST_CHANGED:
            heapq.heappop(difference.most)
    difference.changed += is_changed


def _change(old: dict[str, Any], new: dict[str, Any]) -> tuple[float, str]:
    """How much of the mask is the same, and what to say."""
    presence = f"presence {old['presence']:.2f} before, {new['presence']:.2f} after"
    if (old["rle"] is None) != (new["rle"] is None):
        return 0.0, f"{'no mask' if old['rle'] is None else 'a mask'} before, {presence}"
    if old["rle"] is None:
        return 1.0, presence
    if list(old["rle"]["size"]) != list(new["rle"]["size"]):
        return 0.0, f"the picture was {old['width']}x{old['height']} pixels, it is {new['width']}x{new['height']}"
    iou = overlap(old["rle"], new["rle"])
    return iou, f"IoU {iou:.2f} of the two masks"
