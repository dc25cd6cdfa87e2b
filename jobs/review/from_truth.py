"""Verdicts out of masks that a person drew or left as they were: what labelling tools give back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.output.parts import Rows
from jobs.review import verdicts
from jobs.review.verdicts import Verdict
from tlg.answers import records
from tlg.errors import InputError

# A mask that comes back with so much of itself was left as it was: tools round outlines.
UNCHANGED_IOU = 0.98


@dataclass
class Taken:
    """What a file gave, and what there is to say about the rest of it."""

    verdicts: list[Verdict] = field(default_factory=list)
    pictures: int = 0
    remarks: list[str] = field(default_factory=list)


def of_picture(
    rows: Rows, masks: Mapping[str, np.ndarray | None], reviewer: str, source: str, known: frozenset[str] | None = None
) -> Iterator[Verdict]:
    """Verdicts on a picture's answers; `masks` has the classes that are there, None where their place is not known.

    `known` are the classes that could have been marked; of others nothing is said.
    """
    for row in rows:
        name = row["class_name"]
        if known is not None and name not in known:
            continue
        mask_HW = masks.get(name)
        if mask_HW is not None and mask_HW.shape != (row["height"], row["width"]):
            height, width = mask_HW.shape
            raise InputError(f"its masks are {width}x{height} pixels, the picture {row['width']}x{row['height']}")
        rle = records.encode_mask(mask_HW) if mask_HW is not None and mask_HW.any() else None
        yield verdicts.judge(row, *_said(row, name in masks, rle, reviewer, source))


def _said(
    row: Mapping[str, Any], is_there: bool, rle: records.Rle | None, reviewer: str, source: str
) -> tuple[str, str, str, records.Rle | None]:
    """Verdict, reviewer, source and mask."""
    if row["status"] != "mask":
        return ("missing", reviewer, source, rle) if is_there else ("right", reviewer, source, None)
    if not is_there:
        return "not_there", reviewer, source, None
    if rle is None:
        return "wrong", reviewer, source, None
    is_unchanged = verdicts.overlap(row["rle"], rle) >= UNCHANGED_IOU
    return ("right", reviewer, source, None) if is_unchanged else ("mended", reviewer, source, rle)
