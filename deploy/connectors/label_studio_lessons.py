"""What a Label Studio project has taught so far: a document for each task, so that no two writers overwrite each other.

<store>/label-studio/<project>/tasks/<task>.json    labels, and the names of image and masks
<store>/label-studio/<project>/files/<digest>       images and masks
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from deploy.connectors.label_studio_regions import Shown
from deploy.exemplar_store import ExemplarStore
from tlg import store as storage
from tlg.documents import Document, parse, read_text
from tlg.errors import SpecError, StorageError
from tlg.exemplars import Drawing, ExemplarRef

logger = logging.getLogger("tlg.serve")


@dataclass(frozen=True)
class Lesson:
    """One labelled task: its image, and what it shows of each label."""

    task_id: str
    image: bytes
    labels: dict[str, Shown]


class LessonDocument(Document):
    """`labels` are names with the name of their mask, `drawings` those labels of them that were drawn otherwise."""

    task: str
    taught_at: float
    image: str
    labels: dict[str, str | None]
    drawings: dict[str, Drawing] = Field({})

    @classmethod
    def of(cls, lesson: Lesson, taught_at: float, image: str, named: Callable[[bytes], str]) -> LessonDocument:
        """The lesson with the names that its image and its masks are kept by."""
        return cls(
            task=lesson.task_id,
            taught_at=taught_at,
            image=image,
            labels={name: None if shown.mask is None else named(shown.mask) for name, shown in lesson.labels.items()},
            drawings={name: shown.drawing for name, shown in lesson.labels.items() if shown.drawing.says_where},
        )

    def exemplars(self) -> Iterator[tuple[str, ExemplarRef]]:
        """Each label with the image as an exemplar of it."""
        for name, mask in self.labels.items():
            drawing = self.drawings.get(name, Drawing()).model_dump(exclude_defaults=True)
            yield name, ExemplarRef(image=self.image, mask=mask, **drawing)


class Lessons:
    """Blocking: call it in a thread."""

    def __init__(self, store: ExemplarStore, project: str):
        self._folder, self._access = f"{store.uri}/label-studio/{project}", store.access

    def keep(self, lesson: Lesson, taught_at: float | None = None) -> None:
        """A task that is labelled anew replaces what it taught before."""
        now = time.time() if taught_at is None else taught_at
        document = LessonDocument.of(lesson, now, self._kept(lesson.image), self._kept)
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
