"""`yolo_seg`: `yolo_seg/data.yaml` with copies of the images and their label files, by split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from jobs.output.formats.protocol import ExportFormat
from jobs.output.image_files import ImageFiles
from jobs.output.originals import as_png
from jobs.output.parts import Rows
from jobs.output.selection import Exported, Selection
from jobs.output.splits import SPLITS, split_of
from tlg import store
from tlg.answers.formats import yolo
from tlg.errors import StorageError

FOLDER = "yolo_seg"
# Of what we read, what Ultralytics reads; other images are written as PNG.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


class YoloSeg(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        exported = _files(answers).write()
        return Exported([_write_data(answers)], exported.remark)

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        return {"format": 1, "root": answers.root, "categories": answers.categories()}

    def update(self, answers: Selection, name: str) -> Exported:
        exported = _files(answers).update(name, self.settings(answers))
        return Exported([_write_data(answers)], exported.remark) if exported.uris else exported


def _files(answers: Selection) -> ImageFiles:
    places = {name: place for place, (_, name) in enumerate(answers.categories())}

    def draw(rows: Rows, name: str) -> Iterator[tuple[str, bytes]]:
        """The label is written before its picture, so that no picture is ever without."""
        uri, split = rows[0]["image_uri"], split_of(rows[0]["image_id"])
        content, suffix = store.read(uri, answers.access), PurePosixPath(uri).suffix.lower()
        if suffix not in SUFFIXES:
            content, suffix = as_png(content), ".png"
        text = "".join(f"{line}\n" for line in yolo.lines(rows, places))
        yield f"{FOLDER}/labels/{split}/{name}.txt", text.encode()
        yield f"{FOLDER}/images/{split}/{name}{suffix}", content

    folders = {f"{FOLDER}/labels/{split}": "**/*.txt" for split in SPLITS}
    folders |= {f"{FOLDER}/images/{split}": "**/*" for split in SPLITS}
    return ImageFiles(answers, folders, draw)


def _write_data(answers: Selection) -> str:
    """Ultralytics asks for `train` and `val` with images in them: a split that has none borrows those of another."""
    names = {place: name for place, (_, name) in enumerate(answers.categories())}
    there = [split for split in SPLITS if _has_images(f"{answers.base}/{FOLDER}/images/{split}", answers.access)]
    content: dict[str, Any] = {split: f"images/{split if split in there else there[0]}" for split in SPLITS if there}
    uri = f"{answers.base}/{FOLDER}/data.yaml"
    text = yaml.safe_dump(content | {"names": names}, sort_keys=False, allow_unicode=True)
    store.write(uri, text.encode(), answers.access)
    return uri


def _has_images(folder: str, access: store.Access) -> bool:
    try:
        return next(store.entries(folder, access=access), None) is not None
    except StorageError as error:
        if error.missing:
            return False
        raise
