"""Label Studio's JSON export: the tasks that somebody submitted. A task without annotation says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from jobs.output.parts import Rows
from jobs.review import from_truth
from jobs.review.from_truth import Taken
from tlg.answers.formats import label_studio
from tlg.errors import InputError, SpecError
from tlg.exemplars.drawing import filled

SOURCE = "label studio"
LABELS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "keypointlabels", "labels", "choices")


def read(text: str, file: str, answered: list[Rows], reviewer: str) -> Taken:
    try:
        tasks = json.loads(text)
        if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
            raise ValueError("no list of tasks with `data`")
    except ValueError as error:
        raise SpecError(f"{file}: not a JSON export of Label Studio: {error}") from None
    by_name: dict[str, list[Rows]] = {}
    for rows in answered:
        by_name.setdefault(PurePosixPath(rows[0]["image_uri"]).name, []).append(rows)
    taken, strange = Taken(), []
    for task in tasks:
        annotation = _annotation(task)
        if annotation is None:
            continue
        picture_rows = _rows(task, by_name)
        if picture_rows is None:
            strange.append(_image(task))
            continue
        try:
            masks = _masks(annotation.get("result") or [])
            taken.verdicts += from_truth.of_picture(picture_rows, masks, _reviewer(annotation, reviewer), SOURCE)
            taken.pictures += 1
        except InputError as error:
            taken.remarks.append(f"{_image(task)}: left out: {error}")
    if strange:
        taken.remarks.append(f"{len(strange):,} tasks are of pictures outside the sample: {', '.join(strange[:3])}")
    return taken


def _annotation(task: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last one that was submitted."""
    done = [
        annotation
        for annotation in task.get("annotations") or []
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]
    return done[-1] if done else None


def _image(task: Mapping[str, Any]) -> str:
    """The picture as the task names it; local files of Label Studio carry their path in the query."""
    data = task["data"] if isinstance(task["data"], dict) else {}
    address = next((value for value in data.values() if isinstance(value, str) and "/" in value), "")
    paths = parse_qs(urlsplit(address).query).get("d") if address.startswith("/") else None
    return paths[0] if paths else address


def _rows(task: Mapping[str, Any], by_name: Mapping[str, list[Rows]]) -> Rows | None:
    image = _image(task)
    candidates = by_name.get(unquote(PurePosixPath(urlsplit(image).path).name), [])
    exact = [rows for rows in candidates if rows[0]["image_uri"].endswith(image)]
    chosen = exact or candidates
    return chosen[0] if len(chosen) == 1 else None


def _reviewer(annotation: Mapping[str, Any], reviewer: str) -> str:
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        return str(by.get("email") or by.get("id") or reviewer)
    return reviewer if by is None else f"{reviewer} ({by})"


def _masks(regions: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray | None]:
    """What is marked of each label; None where a region says that the class is there and not which pixels it has."""
    masks: dict[str, np.ndarray | None] = {}
    for region in regions:
        value = region.get("value")
        if not isinstance(value, dict):
            continue
        mask_HW = _mask(region, value)
        for name in (name for kind in LABELS for name in value.get(kind) or []):
            before = masks.get(name)
            if before is not None and mask_HW is not None and before.shape != mask_HW.shape:
                raise InputError(f"its regions of {name} have different sizes")
            masks[name] = mask_HW if before is None else before if mask_HW is None else before | mask_HW
    return masks


def _mask(region: Mapping[str, Any], value: Mapping[str, Any]) -> np.ndarray | None:
    try:
        height, width = int(region["original_height"]), int(region["original_width"])
        if isinstance(value.get("rle"), list):
            return label_studio.decode_brush(value["rle"], height, width)
        if "polygonlabels" in value:
            corners = [(float(x) * width / 100, float(y) * height / 100) for x, y in value["points"]]
            return filled([corners], height, width)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"a region cannot be read: {type(error).__name__}: {error}") from None
    return None
