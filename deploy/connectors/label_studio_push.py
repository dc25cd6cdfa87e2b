"""A Label Studio project that receives predictions. Their name is made of model, exemplars and parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from deploy.connectors.labeling_config import Control, find_control
from jobs.output.parts import Rows
from tlg import store
from tlg.answers.records import object_rows
from tlg.errors import SpecError, StorageError
from tlg.store import label_studio
from tlg.store.label_studio_api import Studio
from tlg.store.retry import patiently

DIGESTS = ("model_digest", "exemplars_digest", "params_digest")


class Project:
    def __init__(self, uri: str, access: store.Access):
        self._api, self._number = label_studio.project_of(uri)
        self._control = _control(self._api, self._number, access)
        self._tasks = _by_address(uri, access)

    def knows(self, image_uri: str) -> bool:
        return image_uri in self._tasks

    def has(self, rows: Rows) -> bool:
        return _version(rows[0]) in self._tasks[rows[0]["image_uri"]].model_versions

    def prediction(self, rows: Rows) -> dict[str, Any]:
        """One without regions as well: it says that this model has looked and found nothing."""
        regions = self._control.regions(object_rows(rows))
        # The least certain region decides what to look at first.
        score = min((float(region["score"]) for region in regions), default=0.0)
        task = self._tasks[rows[0]["image_uri"]].number
        return {"task": task, "result": regions, "score": score, "model_version": _version(rows[0])}

    def post(self, predictions: list[dict[str, Any]]) -> None:
        """A page whose answer is lost may have arrived; it is looked for when the command is started again."""
        path = f"/api/projects/{self._number}/import/predictions"
        answer = self._api.post(path, predictions)
        if answer.get("created") != len(predictions):
            raise StorageError(
                f"{self._api.address}{path}: took {answer.get('created')} of {len(predictions)} predictions"
            )

    def remarks(self) -> Iterator[str]:
        yield from ()


def _control(api: Studio, project: int, access: store.Access) -> Control:
    described = patiently(lambda: api.get(f"/api/projects/{project}/"), access.patience_seconds)
    control = find_control(described.get("label_config") or "")
    if control is None:
        raise SpecError(
            f"{api.address}/projects/{project}: its labelling configuration takes no masks, outlines or boxes; "
            "add BrushLabels, PolygonLabels or RectangleLabels for its image"
        )
    return control


def _by_address(project_uri: str, access: store.Access) -> dict[str, label_studio.Task]:
    """Tasks by both addresses of their image: as a collection of Label Studio's, and where it really is."""
    base = project_uri.rstrip("/")
    tasks: dict[str, label_studio.Task] = {}
    for task in label_studio.tasks(project_uri, access.patience_seconds):
        tasks[f"{base}/{task.name()}"] = task
        if "://" in task.image:
            tasks[task.image] = task
    return tasks


def _version(row: dict[str, Any]) -> str:
    """Who answered, with which exemplars and parameters: the same answers have the same name."""
    together = "".join(str(row[name]) for name in DIGESTS)
    return f"tlg-{hashlib.blake2b(together.encode(), digest_size=6).hexdigest()}"
