"""Exemplar sets of Label Studio projects: labelled tasks in, a stored set per project out."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore, PackedSet
from deploy.replica.pool import checked_header
from tlg import store as storage
from tlg.answers.formats import label_studio
from tlg.errors import InputError

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


@dataclass(frozen=True)
class Lesson:
    """One labelled task: its image, and each label with its mask where one was drawn."""

    task_id: str
    image: bytes
    labels: dict[str, np.ndarray | None]


def project_key(project: Any) -> str | None:
    """`12` of `12.1761234567`, as Label Studio writes projects; None for anything else."""
    found = re.match(r"([0-9]{1,18})(\.|$)", str(project))
    return found.group(1) if found else None


def own_set(project: str) -> str:
    return f"label-studio-{project}"


def remember(store: ExemplarStore, project: str, named: str) -> None:
    storage.write(_choice_uri(store, project), json.dumps({"exemplars": named}).encode(), store.access)


def chosen(store: ExemplarStore, project: str) -> str | None:
    """What the project's connection named, else its own labelled tasks."""
    if storage.exists(_choice_uri(store, project), store.access):
        return json.loads(storage.read(_choice_uri(store, project), store.access))["exemplars"]
    try:
        return store.get(own_set(project)).name
    except ProblemError:
        return None


def labels_of(task: dict[str, Any]) -> dict[str, np.ndarray | None]:
    """Labels of a task's annotations; brush regions of one label make one mask."""
    labels: dict[str, np.ndarray | None] = {}
    for annotation in task.get("annotations") or ():
        for region in annotation.get("result") or () if isinstance(annotation, dict) else ():
            value = region.get("value") if isinstance(region, dict) else None
            if not isinstance(value, dict):
                continue
            for name in (label for kind in LABEL_KINDS for label in value.get(kind) or () if isinstance(label, str)):
                mask = _drawn_mask(region, value)
                before = labels.get(name)
                labels[name] = mask if before is None else before if mask is None else before | mask
    return {name: mask for name, mask in labels.items() if name.strip()}


def teach(store: ExemplarStore, project: str, lessons: list[Lesson], limit: int, max_pixels: int) -> None:
    """Add the lessons to the project's set; a task that is labelled anew replaces what it taught before."""
    try:
        packed = store.packed(own_set(project))
    except ProblemError:
        packed = PackedSet({"name": own_set(project), "classes": [], "negatives": []}, {})
    classes: dict[str, list[dict]] = {one["name"]: one["exemplars"] for one in packed.document["classes"]}
    files = dict(packed.files)
    for lesson in lessons:
        checked_header(lesson.image, max_pixels)
        place = f"images/task-{re.sub(r'[^0-9A-Za-z-]', '', lesson.task_id)[:40]}"
        for name in classes:
            classes[name] = [ref for ref in classes[name] if ref["image"] != place]
        files[place] = lesson.image
        for number, (name, mask) in enumerate(lesson.labels.items()):
            ref = {"image": place}
            if mask is not None:
                ref["mask"] = f"{place}-mask-{number}"
                files[ref["mask"]] = _png(mask)
            classes.setdefault(name.strip(), []).append(ref)
    kept = {name: refs[-limit:] for name, refs in classes.items() if refs}
    used = {path for refs in kept.values() for ref in refs for path in ref.values()}
    document = {"classes": [{"name": name, "exemplars": refs} for name, refs in kept.items()], "negatives": []}
    store.put(own_set(project), PackedSet(document, {path: files[path] for path in used}))


def _drawn_mask(region: dict[str, Any], value: dict[str, Any]) -> np.ndarray | None:
    if not isinstance(value.get("rle"), list):
        return None
    try:
        return label_studio.decode_brush(value["rle"], int(region["original_height"]), int(region["original_width"]))
    except (InputError, KeyError, TypeError, ValueError):
        return None  # the label is still worth having


def _png(mask_HW: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask_HW.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()


def _choice_uri(store: ExemplarStore, project: str) -> str:
    return f"{store.uri}/label-studio/{project}.json"
