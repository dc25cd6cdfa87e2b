"""One answer <-> one row: the Parquet schema that other software reads, RLE masks, boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict

import numpy as np
import pyarrow as pa
from pycocotools import mask as coco_mask

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("image_etag", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("class_name", pa.string()),
        ("class_id", pa.int32()),
        ("status", pa.string()),
        ("score", pa.float32()),
        ("presence", pa.float32()),
        ("area", pa.int64()),
        ("bbox", pa.list_(pa.float32())),
        ("rle", pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])),
        ("part", pa.int32()),
        ("error_type", pa.string()),
        ("error_message", pa.string()),
        ("model_digest", pa.string()),
        ("exemplars_digest", pa.string()),
        ("params_digest", pa.string()),
        ("run_id", pa.string()),
    ]
)

# Columns that answers of older versions do not have; they are null there.
ADDED_COLUMNS = ("part",)

Status = Literal["mask", "absent", "error"]


class Rle(TypedDict):
    size: list[int]
    counts: str


@dataclass(frozen=True)
class Part:
    """One object of a class: a part of the class's mask."""

    score: float
    rle: Rle
    area: int
    bbox: list[float]

    @property
    def mask(self) -> np.ndarray:
        """(height, width) bool: the pixels of the object."""
        return decode_mask(self.rle)


@dataclass(frozen=True)
class Answer:
    """What the model says about one class in one image. `rle` is set exactly when `status` is `mask`.

    `parts` are the objects that the mask consists of, where they were asked for.
    """

    class_name: str
    class_id: int
    status: Status
    score: float
    presence: float
    height: int
    width: int
    rle: Rle | None = None
    area: int = 0
    bbox: list[float] = field(default_factory=list)
    parts: tuple[Part, ...] = ()

    @property
    def mask(self) -> np.ndarray:
        """(height, width) bool: the pixels of the class, none where it is absent."""
        return np.zeros((self.height, self.width), bool) if self.rle is None else decode_mask(self.rle)


@dataclass(frozen=True)
class Provenance:
    """Which model, exemplars and parameters an answer comes from."""

    model_digest: str
    exemplars_digest: str
    params_digest: str
    run_id: str


def image_id(uri: str) -> str:
    """A stable, short name for an image, the same in every run."""
    return hashlib.blake2b(uri.encode(), digest_size=12).hexdigest()


def encode_mask(mask_HW: np.ndarray) -> Rle:
    """A binary mask as COCO compressed RLE with text counts."""
    encoded = coco_mask.encode(np.asfortranarray(mask_HW.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(rle: Rle) -> np.ndarray:
    """The inverse of `encode_mask`: a boolean (H, W) array."""
    return coco_mask.decode({"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")}).astype(bool)


def answer_from_mask(
    class_name: str, class_id: int, mask_HW: np.ndarray, score: float, presence: float, min_score: float
) -> Answer:
    """`mask` when something is marked and the score is high enough, `absent` otherwise."""
    height, width = mask_HW.shape
    if score < min_score or not mask_HW.any():
        return Answer(class_name, class_id, "absent", score, presence, height, width)
    rle = encode_mask(mask_HW)
    area, bbox = _measured(rle)
    return Answer(class_name, class_id, "mask", score, presence, height, width, rle, area, bbox)


def at_min_score(answer: Answer, min_score: float) -> Answer:
    """What an annotator of this `min_score` answers, from what one of a lower one does."""
    if answer.status != "mask" or answer.score >= min_score:
        return answer
    return replace(answer, status="absent", rle=None, area=0, bbox=[], parts=())


def part_from_mask(mask_HW: np.ndarray, score: float) -> Part:
    rle = encode_mask(mask_HW)
    return Part(score, rle, *_measured(rle))


def part_in_window(mask_hw: np.ndarray, top: int, left: int, height: int, width: int, score: float) -> Part:
    """A part of a picture of this size that lies in a window; nothing as large as the picture is made."""
    columns = np.zeros((mask_hw.shape[1], height), np.int8)
    columns[:, top : top + mask_hw.shape[0]] = mask_hw.T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=np.int8(0), append=np.int8(0))) + left * height
    ends = edges if edges.size and edges[-1] == height * width else np.append(edges, height * width)
    counts = np.diff(ends, prepend=0)
    packed = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    rle: Rle = {"size": [height, width], "counts": packed["counts"].decode("ascii")}
    return Part(score, rle, *_measured(rle))


def _measured(rle: Rle) -> tuple[int, list[float]]:
    """Area and box."""
    raw: Any = {"size": rle["size"], "counts": rle["counts"].encode("ascii")}
    return int(coco_mask.area(raw)), [float(side) for side in coco_mask.toBbox(raw)]


def to_rows(answer: Answer, uri: str, etag: str | None, provenance: Provenance) -> list[dict[str, Any]]:
    """The row of the class, then one for each of its objects."""
    row = to_row(answer, uri, etag, provenance)
    parts = enumerate(answer.parts, start=1)
    return [row, *(row | {"part": number} | _of_part(part) for number, part in parts)]


def row_count(answers: Sequence[Answer]) -> int:
    """How many rows these answers are."""
    return sum(1 + len(answer.parts) for answer in answers)


def _of_part(part: Part) -> dict[str, Any]:
    return {"score": part.score, "area": part.area, "bbox": part.bbox, "rle": part.rle}


def class_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that speak of whole classes."""
    return [row for row in rows if row.get("part") is None]


def object_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The masks of an image's rows, object by object; a class that was not parted is one object."""
    masked = {row["class_name"] for row in class_rows(rows) if row["status"] == "mask"}
    parted = {row["class_name"] for row in rows if row.get("part") is not None}
    return [
        row
        for row in rows
        if row["status"] == "mask"
        and row["class_name"] in masked
        and (row.get("part") is not None or row["class_name"] not in parted)
    ]


def to_row(answer: Answer, uri: str, etag: str | None, provenance: Provenance) -> dict[str, Any]:
    return {
        "image_id": image_id(uri),
        "image_uri": uri,
        "image_etag": etag,
        "height": answer.height,
        "width": answer.width,
        "class_name": answer.class_name,
        "class_id": answer.class_id,
        "status": answer.status,
        "score": answer.score,
        "presence": answer.presence,
        "area": answer.area,
        "bbox": answer.bbox if answer.status == "mask" else None,
        "rle": answer.rle,
        "part": None,
        "error_type": None,
        "error_message": None,
        **_provenance_columns(provenance),
    }


def from_rows(rows: Iterable[dict[str, Any]]) -> list[Answer]:
    """The inverse of `to_rows` over an image's answers, for rows that are no error."""
    named = ("class_name", "class_id", "status", "score", "presence", "height", "width", "rle", "area")
    by_class: dict[int, dict[str, Any]] = {}
    parts: dict[int, list[tuple[int, Part]]] = {}
    for row in rows:
        if row["part"] is None:
            by_class[row["class_id"]] = {name: row[name] for name in named} | {"bbox": row["bbox"] or []}
        else:
            part = Part(row["score"], row["rle"], row["area"], row["bbox"])
            parts.setdefault(row["class_id"], []).append((row["part"], part))
    of_class = {class_id: tuple(part for _, part in sorted(some, key=_number)) for class_id, some in parts.items()}
    return [Answer(**values, parts=of_class.get(class_id, ())) for class_id, values in by_class.items()]


def _number(numbered: tuple[int, Part]) -> int:
    return numbered[0]


def error_row(uri: str, etag: str | None, error_type: str, message: str, provenance: Provenance) -> dict[str, Any]:
    """The one row of an image that could not be read."""
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    row |= {"image_id": image_id(uri), "image_uri": uri, "image_etag": etag, "status": "error"}
    row |= {"error_type": error_type, "error_message": message}
    return row | _provenance_columns(provenance)


@dataclass(frozen=True)
class ImageAnswers:
    """Everything said about one image: its answers, or why there are none."""

    uri: str
    etag: str | None
    answers: Sequence[Answer] = ()
    error_type: str | None = None
    error_message: str | None = None


def to_table(images: Sequence[ImageAnswers], provenance: Provenance) -> pa.Table:
    """The rows of many images as one table of SCHEMA; the same rows as `to_rows` and `error_row` give, faster."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names[: SCHEMA.get_field_index("model_digest")]}
    append = [columns[name].append for name in columns]
    for image in images:
        head = (image_id(image.uri), image.uri, image.etag)
        for answer in image.answers:
            box = answer.bbox if answer.status == "mask" else None
            values = (answer.height, answer.width, answer.class_name, answer.class_id, answer.status)
            measurements: list[tuple[Any, ...]] = [(answer.score, answer.presence, answer.area, box, answer.rle, None)]
            measurements += [
                (part.score, answer.presence, part.area, part.bbox, part.rle, number)
                for number, part in enumerate(answer.parts, start=1)
            ]
            for measurement in measurements:
                for add, value in zip(append, (*head, *values, *measurement, None, None), strict=True):
                    add(value)
        if image.error_type is not None:
            nothing = (None,) * 4
            cells = (*head, *nothing, "error", *nothing, None, None, image.error_type, image.error_message)
            for add, value in zip(append, cells, strict=True):
                add(value)
    arrays = [pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()]
    count = len(columns["image_id"])
    arrays += [pa.repeat(pa.scalar(value, pa.string()), count) for value in _provenance_columns(provenance).values()]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _provenance_columns(provenance: Provenance) -> dict[str, str]:
    return {
        "model_digest": provenance.model_digest,
        "exemplars_digest": provenance.exemplars_digest,
        "params_digest": provenance.params_digest,
        "run_id": provenance.run_id,
    }
