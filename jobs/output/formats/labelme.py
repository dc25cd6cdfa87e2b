"""`labelme`: `labelme/<image>.json`, a document for each image.

A picture on this disk is named by a relative path, one of another store or in an archive travels inside its document.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.output.formats.protocol import ExportFormat
from jobs.output.image_files import ImageFiles
from jobs.output.originals import as_png
from jobs.output.parts import Rows
from jobs.output.selection import Exported, Selection
from tlg import store
from tlg.answers.formats import labelme
from tlg.store.archives import parted

FOLDER = "labelme"


class LabelMe(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        return _files(answers).write()

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        return {"format": 1, "root": answers.root}

    def update(self, answers: Selection, name: str) -> Exported:
        return _files(answers).update(name, self.settings(answers))


def _files(answers: Selection) -> ImageFiles:
    names = {name for _, name in answers.categories()}

    def draw(rows: Rows, name: str) -> Iterator[tuple[str, bytes]]:
        wanted = [row for row in rows if row["class_name"] in names] or rows[:1]
        place = f"{FOLDER}/{name}.json"
        path, image = _picture(rows[0]["image_uri"], f"{answers.base}/{place}", answers.access)
        yield place, json.dumps(labelme.document(wanted, path, image), indent=1).encode()

    return ImageFiles(answers, {FOLDER: "**/*.json"}, draw)


def _picture(uri: str, document: str, access: store.Access) -> tuple[str, bytes | None]:
    """How a document names its picture: by a path, or by a name with the bytes."""
    picture, file = store.local_path(uri), store.local_path(document)
    if picture is not None and file is not None and parted(uri) is None:
        return os.path.relpath(picture, file.parent).replace(os.sep, "/"), None
    return f"{re.split('[/#]', uri)[-1]}.png", as_png(store.read(uri, access))
