"""`coco`: `coco/instances*.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.output import marker as markers
from jobs.output.formats.protocol import ExportFormat
from jobs.output.parts import Parts, as_text
from jobs.output.selection import ANSWER_COLUMNS, Exported, Selection
from tlg.answers.formats import coco

# A night writes the files again that hold what is new: small ones are little work. Whoever exports wants few.
IMAGES_PER_FILE = 20_000
IMAGES_PER_EXPORTED_FILE = 100_000


class Coco(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        parts = _parts(answers, IMAGES_PER_EXPORTED_FILE)
        return Exported(parts.write(answers.catalogue, answers.chosen.apply))

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        return {"format": 1, "masks": answers.masks, "root": answers.root, "categories": answers.categories()}

    def update(self, answers: Selection, name: str) -> Exported:
        parts = _parts(answers, IMAGES_PER_FILE)
        return Exported(parts.update(answers.catalogue, name, markers.digest(self.settings(answers))))


def _parts(answers: Selection, images_per_file: int) -> Parts:
    known = answers.categories()
    return Parts(
        f"{answers.base}/coco",
        "instances",
        images_per_file,
        ANSWER_COLUMNS,
        as_text(lambda stream, part: coco.write(stream, part, known, answers.masks, answers.root)),
    )
