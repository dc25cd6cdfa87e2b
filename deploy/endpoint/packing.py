"""Masks of a request -> a zip archive of label files, by the writers of the batch job."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from deploy.endpoint.formats import Row
from deploy.endpoint.problems import ProblemError
from deploy.endpoint.schema import ClassName
from tlg.answers.formats import yolo
from tlg.answers.records import decode_mask
from tlg.documents import Document

MAX_PIXELS = 200_000_000
# Pixels of all masks of one request: more would not be done before its time is up.
MAX_WORK = 2_000_000_000


class ExportMask(Document):
    """A class's mask; `counts` are COCO's compressed run lengths of the picture's size."""

    class_name: ClassName
    counts: str = Field(max_length=20_000_000)
    score: float = Field(1.0, ge=0, le=1)


class ExportPicture(Document):
    name: str = Field(min_length=1, max_length=500)
    width: int = Field(ge=1, le=100_000)
    height: int = Field(ge=1, le=100_000)
    masks: list[ExportMask] = Field([], max_length=1000)

    @model_validator(mode="after")
    def of_a_size(self) -> ExportPicture:
        if self.width * self.height > MAX_PIXELS:
            raise ValueError(f"{self.width}x{self.height} are more than {MAX_PIXELS:,} pixels")
        return self


class Export(Document):
    """Pictures with their masks, as they are to be written."""

    classes: list[ClassName] = Field(min_length=1, max_length=1000, description="In the order of their numbers")
    pictures: list[ExportPicture] = Field(max_length=10_000)


EXAMPLE = Export(
    classes=["orange disc"],
    pictures=[
        ExportPicture(name="a.jpg", width=4, height=4, masks=[ExportMask(class_name="orange disc", counts="52203")])
    ],
)


def packed(export: Export, kind: Literal["yolo_seg", "label_maps"]) -> bytes:
    work = sum(picture.width * picture.height * max(1, len(picture.masks)) for picture in export.pictures)
    if work > MAX_WORK:
        raise ProblemError(
            413, "too-large", f"the masks have {work:,} pixels together, at most {MAX_WORK:,}; send fewer pictures"
        )
    stream = io.BytesIO()
    places = {name: number for number, name in enumerate(export.classes)}
    taken: set[str] = set()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for picture in export.pictures:
            stem = _free_stem(picture.name, taken)
            rows = [_row(picture, mask, places) for mask in picture.masks]
            if kind == "yolo_seg":
                archive.writestr(f"labels/{stem}.txt", "".join(f"{line}\n" for line in yolo.lines(rows, places)))
            else:
                archive.writestr(f"label_maps/{stem}.png", _label_map(picture, rows))
        names = {number + (kind == "label_maps"): name for name, number in places.items()}
        archive.writestr("classes.json", json.dumps(names, ensure_ascii=False, indent=1))
        if kind == "yolo_seg":
            listed = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in names.items())
            archive.writestr("data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{listed}")
    return stream.getvalue()


def _row(picture: ExportPicture, mask: ExportMask, places: dict[str, int]) -> Row:
    if mask.class_name not in places:
        raise ProblemError(422, "unknown-class", f"{picture.name}: '{mask.class_name}' is none of `classes`")
    size = [picture.height, picture.width]
    if covered(mask.counts) != picture.height * picture.width:
        raise ProblemError(
            422, "invalid", f"{picture.name}: the mask of '{mask.class_name}' does not cover its {size[1]}x{size[0]}"
        )
    return {
        "class_name": mask.class_name,
        "class_id": places[mask.class_name] + 1,
        "status": "mask",
        "score": mask.score,
        "part": None,
        "height": picture.height,
        "width": picture.width,
        "rle": {"size": size, "counts": mask.counts},
    }


def covered(counts: str) -> int:
    """Pixels that the run lengths add up to; -1 where they are none. The library that decodes them checks nothing."""
    if not re.fullmatch(r"[0-o]+", counts):
        return -1
    runs: list[int] = []
    at = 0
    while at < len(counts):
        value, shift = 0, 0
        while True:
            if at == len(counts) or shift > 60:
                return -1
            code = ord(counts[at]) - 48
            at += 1
            value |= (code & 0x1F) << shift
            shift += 5
            if not code & 0x20:
                break
        if code & 0x10:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            return -1
        runs.append(value)
    return sum(runs)


def _label_map(picture: ExportPicture, rows: list[Row]) -> bytes:
    classes_HW = np.zeros((picture.height, picture.width), np.uint16)
    for row in sorted(rows, key=lambda row: row["score"]):
        classes_HW[decode_mask(row["rle"])] = row["class_id"]
    stream = io.BytesIO()
    narrow = classes_HW.max(initial=0) < 256
    Image.fromarray(classes_HW.astype(np.uint8) if narrow else classes_HW).save(stream, "PNG")
    return stream.getvalue()


def _free_stem(name: str, taken: set[str]) -> str:
    """The picture's path without its ending and without ways out of the archive; two of one name become two."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..")]
    stem = "/".join(re.sub(r"[\x00-\x1f:]", "_", part) for part in parts)
    stem = re.sub(r"(?<=[^/])\.[A-Za-z0-9]{1,5}$", "", stem) or "picture"
    number, free = 1, stem
    while free in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(free)
    return free
