"""A row as a Label Studio region, all rows of an image as a task.

Its RLE is its own: RGBA bytes of the row-major mask, packed bit by bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import numpy as np

from tlg.answers.formats import polygon
from tlg.answers.records import decode_mask, object_rows
from tlg.errors import InputError
from tlg.pictures import DEFAULT_MAX_PIXELS

WORD_BITS = 8
# How many bits say a run's length; two bits per run choose one of the four.
LENGTH_BITS = (3, 4, 8, 16)
MAX_VALUES = 4 * DEFAULT_MAX_PIXELS


def encode_brush(mask_HW: np.ndarray) -> list[int]:
    """The `rle` list of a brush region: 255 where the mask is set, each pixel four times (RGBA)."""
    values = np.repeat(mask_HW.astype(np.uint8).ravel() * 255, 4)
    bits = [_number(len(values), 32), _number(WORD_BITS - 1, 5), *(_number(size - 1, 4) for size in LENGTH_BITS)]
    starts = np.flatnonzero(np.diff(values, prepend=255 - values[:1])) if len(values) else np.empty(0, int)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(values)], strict=True):
        bits.append(_run(int(values[start]), end - start))
    packed = np.packbits(np.frombuffer("".join(bits).encode(), np.uint8) - ord("0"))
    return packed.tolist()


def decode_brush(rle: Sequence[int], height: int, width: int) -> np.ndarray:
    """The (height, width) mask of a brush region; any alpha above 0 counts as marked."""
    try:
        bits = np.unpackbits(np.array(rle, np.uint8))
    except (OverflowError, ValueError, TypeError) as error:
        raise InputError(f"brush RLE: expected a list of bytes: {error}", "bad_mask") from None
    text = (bits + ord("0")).tobytes().decode()
    total, word, position = int(text[:32] or "0", 2), int(text[32:37] or "0", 2) + 1, 53
    if total != height * width * 4 or total > MAX_VALUES:
        raise InputError(f"brush RLE: {total} values, expected 4 x {height} x {width}", "bad_mask")
    sizes = [int(text[37 + 4 * i : 41 + 4 * i] or "0", 2) + 1 for i in range(4)]
    values, filled = np.zeros(total, np.uint8), 0
    while filled < total:
        if position >= len(text):
            raise InputError(f"brush RLE: ends after {filled} of {total} values", "bad_mask")
        repeated, size = text[position] == "1", sizes[int(text[position + 1 : position + 3] or "0", 2)]
        count = min(int(text[position + 3 : position + 3 + size] or "0", 2) + 1, total - filled)
        position += 3 + size
        read = 1 if repeated else count
        words = [int(text[position + i * word : position + (i + 1) * word] or "0", 2) for i in range(read)]
        values[filled : filled + count] = np.array(words) & 255
        position += read * word
        filled += count
    return values.reshape(height, width, 4)[:, :, 3] > 0


def brush_region(row: Mapping[str, Any], from_name: str, to_name: str) -> dict[str, Any]:
    """The region of a row with status `mask`, for a BrushLabels control."""
    value = {"format": "rle", "rle": encode_brush(decode_mask(row["rle"])), "brushlabels": [row["class_name"]]}
    part = "" if row.get("part") is None else f"-{row['part']}"
    return _region(row, from_name, to_name, "brushlabels", value, f"{row['class_name']}{part}")


def polygon_regions(row: Mapping[str, Any], from_name: str, to_name: str) -> list[dict[str, Any]]:
    """One region per connected part of a row with status `mask`, for a PolygonLabels control."""
    regions = []
    for number, ring in enumerate(polygon.from_mask(decode_mask(row["rle"]))):
        points = [[100 * x / row["width"], 100 * y / row["height"]] for x, y in zip(ring[::2], ring[1::2], strict=True)]
        value = {"points": points, "closed": True, "polygonlabels": [row["class_name"]]}
        regions.append(_region(row, from_name, to_name, "polygonlabels", value, f"{row['class_name']}-{number}"))
    return regions


def rectangle_region(row: Mapping[str, Any], from_name: str, to_name: str) -> dict[str, Any]:
    """The box of a row with status `mask`, for a RectangleLabels control."""
    x, y, width, height = row["bbox"]
    value = {"x": 100 * x / row["width"], "y": 100 * y / row["height"], "rotation": 0}
    value |= {"width": 100 * width / row["width"], "height": 100 * height / row["height"]}
    value |= {"rectanglelabels": [row["class_name"]]}
    return _region(row, from_name, to_name, "rectanglelabels", value, row["class_name"])


def task(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All rows of one image as a task to import."""
    masks = object_rows(rows)
    scores = [float(row["score"]) for row in masks]
    prediction = {
        "model_version": rows[0]["model_digest"],
        "score": min(scores) if scores else 0.0,  # the least certain region decides what to look at first
        "result": [brush_region(row, "tag", "image") for row in masks],
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


def _region(row: Mapping[str, Any], from_name: str, to_name: str, kind: str, value: dict[str, Any], part: str) -> dict:
    return {
        "id": f"{row['image_id'][:8]}-{part}",
        "from_name": from_name,
        "to_name": to_name,
        "type": kind,
        "original_width": row["width"],
        "original_height": row["height"],
        "image_rotation": 0,
        "score": row["score"],
        "value": value,
    }


def _number(value: int, bits: int) -> str:
    return format(value, f"0{bits}b")


def _run(value: int, length: int) -> str:
    """One value repeated `length` times; runs longer than the largest length field are split."""
    text, longest = "", 1 << LENGTH_BITS[-1]
    while length:
        part = min(length, longest)
        choice = next(i for i, bits in enumerate(LENGTH_BITS) if part <= 1 << bits)
        text += "1" + _number(choice, 2) + _number(part - 1, LENGTH_BITS[choice]) + _number(value, WORD_BITS)
        length -= part
    return text
