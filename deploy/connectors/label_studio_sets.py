"""Exemplar sets of Label Studio projects: labelled tasks in, a stored set per project out."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from deploy.connectors.label_studio_lessons import Lesson, LessonDocument, Lessons, task_key
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore, PackedSet
from tlg import store as storage
from tlg.answers.formats import label_studio
from tlg.errors import InputError, SpecError, StorageError

# Which key of a region's value holds its labels.
LABEL_KINDS = (
    "brushlabels",
    "polygonlabels",
    "rectanglelabels",
    "ellipselabels",
    "keypointlabels",
    "choices",
    "labels",
)
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


def labels_of(task: dict[str, Any]) -> dict[str, bytes | None]:
    """Labels of a task's annotations, with masks as PNG; brush regions of one label make one mask.

    What a person skipped or cancelled says nothing.
    """
    masks: dict[str, np.ndarray | None] = {}
    for region, value in _regions(task):
        mask = _drawn_mask(region, value)
        for name in _labels(value):
            masks[name] = _joined(masks.get(name), mask)
    return {name: None if mask is None else _png(mask) for name, mask in masks.items()}


def _regions(task: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for annotation in _list(task.get("annotations")):
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        for region in _list(annotation.get("result")):
            if isinstance(region, dict) and isinstance(region.get("value"), dict):
                yield region, region["value"]


def _labels(value: dict[str, Any]) -> list[str]:
    named = (label for kind in LABEL_KINDS for label in _list(value.get(kind)) if isinstance(label, str))
    return [name.strip() for name in named if name.strip()]


def _joined(before: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray | None:
    if before is None or mask is None:
        return mask if before is None else before
    return before | mask if before.shape == mask.shape else before  # regions of one picture are of one size


def _list(value: Any) -> list[Any]:
    """Strangers send anything: what is no list holds nothing."""
    return value if isinstance(value, list) else []


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
    documents = [LessonDocument(task="", taught_at=0, image="image", labels=dict.fromkeys(lesson.labels))]
    files = {"image": lesson.image}
    for number, (name, mask) in enumerate(lesson.labels.items()):
        if mask is not None:
            files[f"mask-{number}"] = mask
            documents[0].labels[name] = f"mask-{number}"
    try:
        _set_of(files.__getitem__, documents, 1, ()).load()
    except SpecError as error:
        logger.warning("Label Studio task %s is no exemplar: %s", lesson.task_id, error)
        return False
    return True


def _set_of(
    read: Callable[[str], bytes], documents: Sequence[LessonDocument], limit: int, known: Sequence[str]
) -> PackedSet:
    """The latest `limit` exemplars of each class; classes keep the order, and so the ids, that they had."""
    spelling = {name.casefold(): name for name in known}
    by_class: dict[str, list[dict[str, str]]] = {name: [] for name in known}
    for lesson in documents:
        for name, mask in lesson.labels.items():
            ref = {"image": lesson.image} | ({} if mask is None else {"mask": mask})
            by_class.setdefault(spelling.setdefault(name.casefold(), name), []).append(ref)
    kept = {name: refs[-limit:] for name, refs in by_class.items() if refs}
    used = {path for refs in kept.values() for ref in refs for path in ref.values()}
    document = {"classes": [{"name": name, "exemplars": refs} for name, refs in kept.items()], "negatives": []}
    return PackedSet({"name": "lessons"} | document, {path: read(path) for path in used})


def _known_classes(store: ExemplarStore, project: str) -> list[str]:
    try:
        return [one.name for one in store.get(own_set(project)).classes]
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
    by_image: dict[str, dict[str, bytes | None]] = {}
    for one in packed.document["classes"]:
        for ref in one["exemplars"]:
            mask = packed.files[ref["mask"]] if ref.get("mask") else None
            by_image.setdefault(ref["image"], {})[one["name"]] = mask
    for position, (place, labels) in enumerate(by_image.items()):
        task = place.removeprefix("images/task-")
        lessons.keep(Lesson(task_key(task), packed.files[place], labels), taught_at=float(position))


def _drawn_mask(region: dict[str, Any], value: dict[str, Any]) -> np.ndarray | None:
    if not isinstance(value.get("rle"), list):
        return None
    try:
        return label_studio.decode_brush(value["rle"], int(region["original_height"]), int(region["original_width"]))
    except (InputError, KeyError, TypeError, ValueError, OverflowError):
        return None  # the label is still worth having


def _png(mask_HW: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask_HW.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()


def _choice_uri(store: ExemplarStore, project: str) -> str:
    return f"{store.uri}/label-studio/{project}.json"
