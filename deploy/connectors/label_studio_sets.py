"""Exemplar sets of Label Studio projects: labelled tasks in, a stored set per project out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from deploy.connectors.label_studio_lessons import Lesson, LessonDocument, Lessons, task_key
from deploy.connectors.label_studio_regions import Shown
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore, PackedSet
from tlg import store as storage
from tlg.errors import SpecError, StorageError
from tlg.exemplars import ExemplarRef

# Each round takes in what other processes taught meanwhile; in the end somebody's round is the last.
ROUNDS = 10
logger = logging.getLogger("tlg.serve")


def project_key(project: Any) -> str | None:
    """`12` of `12.1761234567`, as Label Studio writes projects; None for anything else."""
    found = re.match(r"([0-9]{1,18})(\.|$)", str(project), re.ASCII)
    return found.group(1) if found else None


def own_set(project: str) -> str:
    return f"label-studio-{project}"


def remember(store: ExemplarStore, project: str, named: str) -> None:
    storage.write(_choice_uri(store, project), json.dumps({"exemplars": named}).encode(), store.access)


def chosen(store: ExemplarStore, project: str) -> str | None:
    """What the project's connection named, else its own labelled tasks."""
    try:
        return json.loads(storage.read(_choice_uri(store, project), store.access))["exemplars"]
    except StorageError as error:
        if not error.missing:
            raise
    try:
        return store.get(own_set(project)).name
    except ProblemError:
        return None


def teach(store: ExemplarStore, project: str, taught: Sequence[Lesson], limit: int) -> None:
    """Keep the lessons, and make the project's set of all lessons, those of other processes included.

    A set that was made while somebody else kept a lesson is made again: whoever writes last has seen them all.
    """
    lessons = Lessons(store, project)
    _adopt_older(store, project, lessons)
    for lesson in taught:
        if _is_usable(lesson):
            lessons.keep(lesson)
    for _ in range(ROUNDS):
        state = lessons.state()
        packed = _set_of(lessons.read, lessons.all(state), limit, _known_classes(store, project))
        if packed.document["classes"]:
            store.put(own_set(project), packed)
        if lessons.state() == state:
            return


def _is_usable(lesson: Lesson) -> bool:
    """One that is not would keep the project's set from ever being made again."""
    files = {"image": lesson.image}

    def named(mask: bytes) -> str:
        name = f"mask-{len(files)}"
        files[name] = mask
        return name

    document = LessonDocument.of(lesson, 0.0, "image", named)
    try:
        _set_of(files.__getitem__, [document], 1, ()).load()
    except SpecError as error:
        logger.warning("Label Studio task %s is no exemplar: %s", lesson.task_id, error)
        return False
    return True


def _set_of(
    read: Callable[[str], bytes], documents: Sequence[LessonDocument], limit: int, known: Sequence[str]
) -> PackedSet:
    """The latest `limit` exemplars of each class; classes keep the order, and so the ids, that they had."""
    spelling = {name.casefold(): name for name in known}
    by_class: dict[str, list[ExemplarRef]] = {name: [] for name in known}
    for lesson in documents:
        for name, ref in lesson.exemplars():
            by_class.setdefault(spelling.setdefault(name.casefold(), name), []).append(ref)
    kept = {name: refs[-limit:] for name, refs in by_class.items() if refs}
    used = {path for refs in kept.values() for ref in refs for path in (ref.image, ref.mask) if path}
    classes = [
        {"name": name, "exemplars": [ref.model_dump(mode="json", exclude_defaults=True) for ref in refs]}
        for name, refs in kept.items()
    ]
    document = {"classes": classes, "negatives": []}
    return PackedSet({"name": "lessons"} | document, {path: read(path) for path in used})


def _known_classes(store: ExemplarStore, project: str) -> list[str]:
    try:
        return [shown_class.name for shown_class in store.get(own_set(project)).classes]
    except ProblemError:
        return []


def _adopt_older(store: ExemplarStore, project: str, lessons: Lessons) -> None:
    """Sets of version 0.1 held their tasks' images by name, and there were no lessons beside them."""
    if lessons.state():
        return
    try:
        packed = store.packed(own_set(project))
    except ProblemError:
        return
    by_image: dict[str, dict[str, Shown]] = {}
    for shown_class in packed.document["classes"]:
        for ref in shown_class["exemplars"]:
            mask = packed.files[ref["mask"]] if ref.get("mask") else None
            by_image.setdefault(ref["image"], {})[shown_class["name"]] = Shown(mask)
    for position, (place, labels) in enumerate(by_image.items()):
        task = place.removeprefix("images/task-")
        lessons.keep(Lesson(task_key(task), packed.files[place], labels), taught_at=float(position))


def _choice_uri(store: ExemplarStore, project: str) -> str:
    return f"{store.uri}/label-studio/{project}.json"
