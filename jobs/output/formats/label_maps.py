"""`label_maps`: `label_maps/<image>.png`, one exclusive map for each image, and `label_maps/classes.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.output.formats.protocol import ExportFormat
from jobs.output.image_files import ImageFiles
from jobs.output.parts import Rows
from jobs.output.selection import Exported, Selection
from tlg import store
from tlg.answers.formats import label_map

FOLDER = "label_maps"


class LabelMaps(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        _write_classes(answers)
        return _files(answers).write()

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        return {"format": 1, "root": answers.root, "categories": answers.categories()}

    def update(self, answers: Selection, name: str) -> Exported:
        exported = _files(answers).update(name, self.settings(answers))
        if exported.uris:
            _write_classes(answers)
        return exported


def _files(answers: Selection) -> ImageFiles:
    label_map.check(answers.categories())
    ids = {name: number for number, name in answers.categories()}

    def draw(rows: Rows, name: str) -> Iterator[tuple[str, bytes]]:
        yield f"{FOLDER}/{name}.png", label_map.encode(label_map.labels(rows, ids))

    return ImageFiles(answers, {FOLDER: "**/*.png"}, draw)


def _write_classes(answers: Selection) -> None:
    names = {0: "background"} | dict(answers.categories())
    store.write(f"{answers.base}/{FOLDER}/classes.json", json.dumps(names, indent=1).encode(), answers.access)
