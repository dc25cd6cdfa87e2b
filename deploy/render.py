"""Rows -> what a request's `format` asks for."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from deploy.problems import ProblemError
from tlg import records
from tlg.formats import polygon

Row = dict[str, Any]


def as_read_back(rows: list[Row]) -> list[Row]:
    """The rows as a reader of a batch job's Parquet gets them, single precision included."""
    return pa.Table.from_pylist(rows, schema=records.SCHEMA).to_pylist()


def with_polygons(rows: list[Row]) -> list[Row]:
    return [_with_polygons(row) for row in rows]


def _with_polygons(row: Row) -> Row:
    rings = polygon.from_mask(records.decode_mask(row["rle"])) if row["rle"] else None
    return row | {"rle": None, "polygons": rings}


def coco(rows: list[Row], classes: list[str]) -> dict[str, Any]:
    """A COCO document; ids count from 1 in the order asked, categories are the set's class ids."""
    numbers: dict[str, int] = {}
    pictures: list[Row] = []
    annotations: list[Row] = []
    for row in rows:
        if row["status"] == "error":
            continue
        if row["image_id"] not in numbers:
            numbers[row["image_id"]] = len(numbers) + 1
            picture = {"id": numbers[row["image_id"]], "file_name": row["image_uri"]}
            pictures.append(picture | {"width": row["width"], "height": row["height"]})
        if row["status"] == "mask":
            annotation = {"id": len(annotations) + 1, "image_id": numbers[row["image_id"]]}
            annotation |= {"category_id": row["class_id"], "bbox": row["bbox"], "area": row["area"], "iscrowd": 0}
            annotations.append(annotation | {"segmentation": row["rle"], "score": row["score"]})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": pictures, "categories": categories, "annotations": annotations}


def png(rows: list[Row]) -> bytes:
    """An indexed PNG: each pixel holds the id of the best-scored class there, 0 where there is none."""
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
