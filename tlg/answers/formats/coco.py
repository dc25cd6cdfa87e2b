"""Answer rows -> COCO instances JSON, written as a stream: memory does not grow with the collection."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from tlg.answers import records
from tlg.answers.formats import polygon

Masks = Literal["rle", "polygon"]
# The largest whole number that JavaScript and 64-bit floats keep exactly is 2**53.
ID_BITS = 52


@dataclass
class CocoFile:
    """One JSON document: `add` an image's rows at a time, then `finish`. Ids depend on uri and class alone.

    `categories` are (id, class name), see `distinct_categories`; masks of other classes are left out.
    """

    stream: IO[str]
    categories: Sequence[tuple[int, str]]
    masks: Masks = "rle"
    root: str = ""
    image_count: int = 0
    annotation_count: int = 0
    _ids: dict[str, int] = field(init=False)
    _used: set[int] = field(default_factory=set)
    _images: IO[str] = field(default_factory=lambda: tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115

    def __post_init__(self) -> None:
        self._ids = {name: number for number, name in self.categories}
        listed = [{"id": number, "name": name, "supercategory": ""} for number, name in self.categories]
        self.stream.write('{"info": {"description": "Answers of tlg"}, "licenses": [],\n"categories": ')
        json.dump(listed, self.stream)
        self.stream.write(',\n"annotations": [')

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """All rows of one image; an image that could not be read has no place in COCO."""
        first = rows[0]
        if first["status"] == "error":
            return
        image_id = self._unused("image", first["image_id"])
        image = {
            "id": image_id,
            "file_name": file_name(first["image_uri"], self.root),
            "width": first["width"],
            "height": first["height"],
            "coco_url": first["image_uri"],
        }
        self._images.write((",\n" if self.image_count else "\n") + json.dumps(image))
        self.image_count += 1
        for row in records.object_rows(rows):
            if row["class_name"] not in self._ids:
                continue
            part = "" if row.get("part") is None else f"/{row['part']}"
            annotation = {
                "id": self._unused("annotation", f"{row['image_id']}/{row['class_id']}{part}"),
                "image_id": image_id,
                **annotation_of(row, self.masks),
                "category_id": self._ids[row["class_name"]],
            }
            self.stream.write((",\n" if self.annotation_count else "\n") + json.dumps(annotation))
            self.annotation_count += 1

    def finish(self) -> None:
        self.stream.write('],\n"images": [')
        self._images.seek(0)
        while chunk := self._images.read(2**20):
            self.stream.write(chunk)
        self.stream.write("]}\n")
        self._images.close()

    def _unused(self, kind: str, name: str) -> int:
        """A positive id from the name; were two names ever to meet, the later one is moved."""
        salt = 0
        while (number := stable_id(kind, name, salt)) in self._used:
            salt += 1
        self._used.add(number)
        return number


def distinct_categories(classes: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """One id per class name and one name per id, from the (class id, name) pairs of answers, newest first.

    Answers of an older class list may give a name's id to another name: the newest keeps it, others move behind.
    """
    ids: dict[str, int] = {}
    moved: set[str] = set()
    for class_id, name in classes:
        if name in ids or name in moved:
            continue
        if class_id in ids.values():
            moved.add(name)
        else:
            ids[name] = class_id
    for name in sorted(moved):
        ids[name] = max(ids.values()) + 1
    return sorted((number, name) for name, number in ids.items())


def stable_id(kind: str, name: str, salt: int = 0) -> int:
    digest = hashlib.blake2b(f"{kind}\0{name}\0{salt}".encode(), digest_size=8).digest()
    return max(1, int.from_bytes(digest, "little") >> (64 - ID_BITS))


def annotation_of(row: dict[str, Any], masks: Masks) -> dict[str, Any]:
    """A mask row as a COCO annotation without its ids."""
    rle: Any = {"size": list(row["rle"]["size"]), "counts": row["rle"]["counts"]}
    segmentation = rle if masks == "rle" else polygon.from_mask(records.decode_mask(row["rle"]))
    return {
        "category_id": row["class_id"],
        "bbox": [float(side) for side in row["bbox"]],
        "area": row["area"],
        "iscrowd": 0,
        "segmentation": segmentation,
        "score": round(float(row["score"]), 6),
    }


def file_name(uri: str, root: str) -> str:
    """The image below the collection's folder, as importers look it up; the whole uri where it lies elsewhere."""
    base = root.rstrip("/") + "/"
    return uri.removeprefix(base) if root else uri


def write(
    stream: IO[str],
    images: Iterable[Sequence[dict[str, Any]]],
    categories: Sequence[tuple[int, str]],
    masks: Masks = "rle",
    root: str = "",
) -> CocoFile:
    """One whole document from each image's rows."""
    file = CocoFile(stream, categories, masks, root)
    for rows in images:
        file.add(rows)
    file.finish()
    return file
