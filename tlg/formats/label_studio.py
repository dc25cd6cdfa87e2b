"""Answer rows -> Label Studio tasks with brush predictions, in its own run-length format.

That format packs the row-major mask as RGBA bytes of 0 or 255: a header (32-bit value count, 5-bit word size - 1,
four 4-bit run sizes - 1), then runs: one bit for "repeated", two for the run size used, length - 1, the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import IO, Any

import numpy as np

from tlg import records

WORD_BITS = 8
RUN_BITS = (3, 4, 8, 16)
CHANNELS = 4


def encode_mask(mask_HW: np.ndarray) -> list[int]:
    """A boolean mask as the integers of `value.rle`."""
    flat = np.asarray(mask_HW, bool).reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [flat.size]])) * CHANNELS
    bits = [f"{flat.size * CHANNELS:032b}{WORD_BITS - 1:05b}", *(f"{size - 1:04b}" for size in RUN_BITS)]
    longest = 1 << RUN_BITS[-1]
    for marked, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        value = "11111111" if marked else "00000000"
        while length:
            run = min(length, longest)
            index = next(place for place, size in enumerate(RUN_BITS) if run <= 1 << size)
            bits.append(f"1{index:02b}{run - 1:0{RUN_BITS[index]}b}{value}")
            length -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def region(row: dict[str, Any], from_name: str = "tag", to_name: str = "image") -> dict[str, Any]:
    """One mask row as a brush region."""
    return {
        "id": f"{row['image_id'][:8]}{row['class_id']}",
        "from_name": from_name,
        "to_name": to_name,
        "type": "brushlabels",
        "original_width": row["width"],
        "original_height": row["height"],
        "image_rotation": 0,
        "score": float(row["score"]),
        "value": {
            "format": "rle",
            "rle": encode_mask(records.decode_mask(row["rle"])),
            "brushlabels": [row["class_name"]],
        },
    }


def task(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All rows of one image as a task to import."""
    masks = [row for row in rows if row["status"] == "mask"]
    scores = [float(row["score"]) for row in masks]
    prediction = {
        "model_version": rows[0]["model_digest"],
        "score": min(scores) if scores else 0.0,  # the least certain region decides what to look at first
        "result": [region(row) for row in masks],
    }
    return {"data": {"image": rows[0]["image_uri"]}, "predictions": [prediction]}


def write(stream: IO[str], images: Iterable[Sequence[dict[str, Any]]]) -> int:
    """A JSON list of tasks, one per readable image, streamed; returns how many."""
    count = 0
    stream.write("[")
    for rows in images:
        if rows[0]["status"] == "error":
            continue
        stream.write((",\n" if count else "\n") + json.dumps(task(rows)))
        count += 1
    stream.write("]\n")
    return count
