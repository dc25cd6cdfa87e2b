"""What a Label Studio project has taught so far: a document for each task, so that no two writers overwrite each other.

<store>/label-studio/<project>/tasks/<task>.json    labels, and the names of image and masks
<store>/label-studio/<project>/files/<digest>       images and masks
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.exemplar_store import ExemplarStore
from tlg import store as storage
from tlg.documents import Document, parse, read_text
from tlg.errors import SpecError, StorageError

logger = logging.getLogger("tlg.serve")


@dataclass(frozen=True)
class Lesson:
    """One labelled task: its image, and each label with its mask (PNG) where one was drawn."""

    task_id: str
    image: bytes
    labels: dict[str, bytes | None]


class LessonDocument(Document):
    task: str
    taught_at: float
    image: str
    labels: dict[str, str | None]


class Lessons:
    """Blocking: call it in a thread."""

    def __init__(self, store: ExemplarStore, project: str):
        self._folder, self._access = f"{store.uri}/label-studio/{project}", store.access

    def keep(self, lesson: Lesson, taught_at: float | None = None) -> None:
        """A task that is labelled anew replaces what it taught before."""
        labels = {name: None if mask is None else self._kept(mask) for name, mask in lesson.labels.items()}
        document = LessonDocument(
            task=lesson.task_id,
            taught_at=time.time() if taught_at is None else taught_at,
            image=self._kept(lesson.image),
            labels=labels,
        )
        content = document.model_dump_json().encode()
        storage.write(f"{self._folder}/tasks/{task_key(lesson.task_id)}.json", content, self._access)

    def state(self) -> frozenset[tuple[str, str]]:
        """Changes whenever a lesson does."""
        found = storage.listed(f"{self._folder}/tasks", "*.json", self._access)
        return frozenset((entry.uri, entry.etag) for entry in found)

    def all(self, state: frozenset[tuple[str, str]]) -> Sequence[LessonDocument]:
        """From the earliest to the latest."""
        found = []
        for uri, _ in state:
            try:
                found.append(parse(LessonDocument, read_text(storage.read_text(uri, self._access), uri), uri))
            except SpecError as error:
                logger.warning("a lesson is left out: %s", error)
            except StorageError as error:
                if not error.missing:
                    raise
        return sorted(found, key=lambda lesson: (lesson.taught_at, lesson.task))

    def read(self, name: str) -> bytes:
        return storage.read(f"{self._folder}/files/{name}", self._access)

    def _kept(self, content: bytes) -> str:
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        if not storage.exists(f"{self._folder}/files/{name}", self._access):
            storage.write(f"{self._folder}/files/{name}", content, self._access)
        return name


def task_key(task_id: str) -> str:
    """A task's id as a file name."""
    return re.sub(r"[^0-9A-Za-z-]", "", task_id)[:40]
