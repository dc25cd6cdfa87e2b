"""`label_studio`: `label_studio/tasks*.json`, lists of tasks to import."""

from __future__ import annotations

from jobs.output import marker as markers
from jobs.output.formats.protocol import ExportFormat
from jobs.output.parts import Parts, as_text
from jobs.output.selection import ANSWER_COLUMNS, Exported, Selection
from tlg.answers.formats import label_studio

TASKS_PER_FILE = 20_000
COLUMNS = [*ANSWER_COLUMNS, "model_digest"]


class LabelStudio(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        return Exported(_parts(answers).write(answers.catalogue, answers.chosen.apply))

    def update(self, answers: Selection, name: str) -> Exported:
        return Exported(_parts(answers).update(answers.catalogue, name, markers.digest(self.settings(answers))))


def _parts(answers: Selection) -> Parts:
    return Parts(f"{answers.base}/label_studio", "tasks", TASKS_PER_FILE, COLUMNS, as_text(label_studio.write))
