"""`label_studio_jsonl`: `label_studio_jsonl/tasks*.jsonl`, a task a line, for a cloud storage of Label Studio."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO

from jobs.output import marker as markers
from jobs.output.formats.label_studio import COLUMNS
from jobs.output.formats.protocol import ExportFormat
from jobs.output.parts import Parts, Rows, as_text
from jobs.output.selection import Exported, Selection
from tlg.answers.formats import label_studio

# Label Studio reads a file of a storage whole, in one request.
TASKS_PER_FILE = 1_000
SUFFIX = ".jsonl"


class LabelStudioLines(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        return Exported(_parts(answers).write(answers.catalogue, answers.chosen.apply))

    def update(self, answers: Selection, name: str) -> Exported:
        return Exported(_parts(answers).update(answers.catalogue, name, markers.digest(self.settings(answers))))


def _parts(answers: Selection) -> Parts:
    folder = f"{answers.base}/label_studio_jsonl"
    return Parts(folder, "tasks", TASKS_PER_FILE, COLUMNS, as_text(_write, SUFFIX), SUFFIX)


def _write(stream: IO[str], images: Iterable[Rows]) -> None:
    for rows in images:
        if rows[0]["status"] != "error":
            stream.write(f"{json.dumps(label_studio.task(rows))}\n")
