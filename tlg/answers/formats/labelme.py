"""The rows of an image as a LabelMe document: a polygon for each connected part of a mask.

A hole is joined to its rim by a cut without width; readers that draw polygons get the same pixels.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from tlg.answers.formats import polygon
from tlg.answers.records import decode_mask, object_rows

# What LabelMe and X-AnyLabeling both read.
VERSION = "5.5.0"


def document(rows: Sequence[dict[str, Any]], image_path: str, image: bytes | None = None) -> dict[str, Any]:
    """`image_path` counts from the document's folder; `image` goes inside where no path leads to the picture."""
    masks = object_rows(rows)
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [shape for number, row in enumerate(masks, start=1) for shape in _shapes(row, number)],
        "imagePath": image_path,
        "imageData": None if image is None else base64.b64encode(image).decode(),
        "imageHeight": rows[0]["height"],
        "imageWidth": rows[0]["width"],
    }


def _shapes(row: Mapping[str, Any], group: int) -> list[dict[str, Any]]:
    """The parts of one mask share a group."""
    return [
        {
            "label": row["class_name"],
            "points": [[x, y] for x, y in zip(ring[::2], ring[1::2], strict=True)],
            "group_id": group,
            "description": f"score {row['score']:.3f}",
            "shape_type": "polygon",
            "flags": {},
        }
        for ring in polygon.from_mask(decode_mask(row["rle"]))
    ]
