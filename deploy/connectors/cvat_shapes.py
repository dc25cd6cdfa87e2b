"""A row as shapes of CVAT, of the type that a label takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlg.answers.formats import polygon
from tlg.answers.records import decode_mask

# What a label may take of us, from the most to the least that we can say; `any` takes masks.
TYPES = ("any", "mask", "polygon", "rectangle")


def shapes(row: Mapping[str, Any], label: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the mask of a row with status `mask` looks like to this label."""
    if label["type"] == "rectangle":
        left, top, width, height = row["bbox"]
        drawn: list[tuple[str, list[Any]]] = [("rectangle", [left, top, left + width, top + height])]
    elif label["type"] == "polygon":
        drawn = [("polygon", ring) for ring in polygon.from_mask(decode_mask(row["rle"]))]
    else:
        drawn = [("mask", mask_points(decode_mask(row["rle"])))]
    return [
        {
            "type": kind,
            "label_id": label["id"],
            "points": points,
            "source": "auto",
            "score": row["score"],
            "occluded": False,
            "attributes": [],
        }
        for kind, points in drawn
    ]


def mask_points(mask_HW: np.ndarray) -> list[int]:
    """The mask's box row by row as lengths of runs, unmarked ones first; then left, top, right, bottom of the box."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    inside = mask_HW[top : bottom + 1, left : right + 1].astype(bool).ravel()
    changes = np.flatnonzero(np.diff(inside, prepend=False))
    return [*np.diff(changes, prepend=0, append=len(inside)).tolist(), left, top, right, bottom]
