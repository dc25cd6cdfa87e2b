"""Answer rows -> the lines of a YOLO segmentation label file.

A line is one polygon: a connected part of an object, or of a class's mask where it was not parted into objects. YOLO
knows no holes; a hole is joined to its rim by a cut without width, so that drawing the polygon gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlg.answers.formats import polygon
from tlg.answers.records import decode_mask, object_rows

DECIMALS = 6


def lines(rows: Sequence[dict[str, Any]], places: Mapping[str, int]) -> list[str]:
    """`<class> x1 y1 x2 y2 ...` in shares of width and height; `places` numbers the classes from 0."""
    written = []
    for row in object_rows(rows):
        if row["class_name"] not in places:
            continue
        for ring in polygon.from_mask(decode_mask(row["rle"])):
            pairs = zip(ring[::2], ring[1::2], strict=True)
            shares = [share for x, y in pairs for share in (x / row["width"], y / row["height"])]
            numbers = " ".join(f"{share:.{DECIMALS}g}" for share in shares)
            written.append(f"{places[row['class_name']]} {numbers}")
    return written
