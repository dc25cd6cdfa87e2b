"""Rows -> what a request's `format` asks for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from deploy.endpoint.problems import ProblemError
from tlg.answers import records
from tlg.answers.formats import coco as instances
from tlg.answers.formats import polygon

Row = dict[str, Any]


def as_read_back(rows: list[Row]) -> list[Row]:
    """The rows as a reader of a batch job's Parquet gets them, single precision included."""
    return pa.Table.from_pylist(rows, schema=records.SCHEMA).to_pylist()


def with_polygons(rows: list[Row]) -> list[Row]:
    return [_with_polygons(row) for row in rows]


def _with_polygons(row: Row) -> Row:
    rings = polygon.from_mask(records.decode_mask(row["rle"])) if row["rle"] else None
    return row | {"rle": None, "polygons": rings}


def coco(rows: list[Row], classes: list[str]) -> str:
    """A COCO document; categories are the set's class ids."""
    stream = io.StringIO()
    instances.write(stream, _by_picture(rows), list(enumerate(classes, start=1)))
    return stream.getvalue()


def _by_picture(rows: list[Row]) -> Iterator[list[Row]]:
    """Each picture's rows; two pictures of one name are two, for a picture's classes come in rising order."""
    waiting: list[Row] = []
    for row in rows:
        if waiting and (row["image_id"] != waiting[0]["image_id"] or not _follows(row, waiting[-1])):
            yield waiting
            waiting = []
        waiting.append(row)
    if waiting:
        yield waiting


def _follows(row: Row, before: Row) -> bool:
    return "error" not in (row["status"], before["status"]) and row["class_id"] > before["class_id"]


def png(rows: list[Row]) -> bytes:
    """An indexed PNG: each pixel holds the id of the best-scored class there, 0 where there is none."""
    if not rows:
        raise ProblemError(422, "invalid", "found no `classes`, expected at least one for an indexed PNG")
    if max(row["class_id"] for row in rows) > 255:
        raise ProblemError(422, "invalid", "an indexed PNG holds 255 classes; name fewer `classes`, or take `rle`")
    height, width = rows[0]["height"], rows[0]["width"]
    classes_HW = np.zeros((height, width), np.uint8)
    for row in sorted((row for row in rows if row["status"] == "mask"), key=lambda row: row["score"]):
        classes_HW[records.decode_mask(row["rle"])] = row["class_id"]
    image = Image.fromarray(classes_HW, "P")
    image.putpalette(_palette())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=False)
    return stream.getvalue()


def _palette() -> list[int]:
    """Black, then colours that differ: the golden angle around the wheel."""
    import colorsys

    colours = [(0, 0, 0)] + [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(number * 0.618 % 1, 0.75, 0.95))
        for number in range(255)
    ]
    return [part for colour in colours for part in colour]
