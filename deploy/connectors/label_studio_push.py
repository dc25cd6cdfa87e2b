"""`tlg push`: a job's answers as predictions of a Label Studio project, a page at a time, each once.

Started again, it goes on where it was: a task that has this model's prediction already is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from deploy.connectors.labeling_config import Control, find_control
from jobs.output import catalogue as catalogues
from jobs.output import runs, shards
from jobs.output.parts import Rows
from jobs.output.selection import Filter, Selection
from tlg import store
from tlg.answers.records import SCHEMA, object_rows
from tlg.errors import SpecError, StorageError
from tlg.store import label_studio
from tlg.store.label_studio import Task
from tlg.store.label_studio_api import Studio
from tlg.store.retry import patiently

PREDICTIONS_PER_PAGE = 50
DIGESTS = ("model_digest", "exemplars_digest", "params_digest")


def push(
    output: str, to: str | None = None, access: store.Access = store.DEFAULT_ACCESS, min_score: float = 0.0
) -> Iterator[str]:
    """`to` is the project; None takes the collection that was answered, where that was one."""
    output = output.rstrip("/")
    catalogue = catalogues.load(output, access)
    if not catalogue.shards:
        raise StorageError(f"{output}: no committed answers here; expected {shards.FOLDER}/*.parquet", missing=True)
    project_uri = to or _collection(output, access)
    api, project = label_studio.project_of(project_uri)
    control = _control(api, project, access)
    yield f"{project_uri}: looking at its tasks"
    tasks = _by_address(project_uri, access)
    done = there = 0
    answers = Selection(catalogue, output, Filter(min_score)).images(SCHEMA.names)
    predictions = (
        _prediction(rows, task, control)
        for rows in answers
        if rows[0]["status"] != "error" and (task := tasks.get(rows[0]["image_uri"])) is not None
    )
    while page := list(islice(predictions, PREDICTIONS_PER_PAGE)):
        there += page.count(None)
        if fresh := [prediction for prediction in page if prediction is not None]:
            _post(api, project, fresh)
        done += len(fresh)
        yield f"{done:,} predictions pushed, {there:,} were there"
    if not done + there:
        yield f"none of the answered images is an image of {project_uri}"


def _collection(output: str, access: store.Access) -> str:
    recorded = runs.recorded(output, access, last=1)
    found = recorded[0]["collection"] if recorded else ""
    if not found.startswith(label_studio.PREFIX):
        raise SpecError(
            f"{output}: answers images of {found or 'an unknown collection'}; name the project: "
            f"--to {label_studio.PREFIX}http://HOST/projects/7"
        )
    return found


def _control(api: Studio, project: int, access: store.Access) -> Control:
    described = patiently(lambda: api.get(f"/api/projects/{project}/"), access.patience_seconds)
    control = find_control(described.get("label_config") or "")
    if control is None:
        raise SpecError(
            f"{api.address}/projects/{project}: its labelling configuration takes no masks, outlines or boxes; "
            "add BrushLabels, PolygonLabels or RectangleLabels for its image"
        )
    return control


def _by_address(project_uri: str, access: store.Access) -> dict[str, Task]:
    """Tasks by both addresses of their image: as a collection of Label Studio's, and where it really is."""
    base = project_uri.rstrip("/")
    found: dict[str, Task] = {}
    for task in label_studio.tasks(project_uri, access.patience_seconds):
        found[f"{base}/{task.name()}"] = task
        if "://" in task.image:
            found[task.image] = task
    return found


def _prediction(rows: Rows, task: Task, control: Control) -> dict[str, Any] | None:
    """None where the task has it."""
    version = _version(rows[0])
    if version in task.model_versions:
        return None
    regions = control.regions(object_rows(rows))
    scores = [float(region["score"]) for region in regions]
    # The least certain region decides what to look at first.
    return {"task": task.number, "result": regions, "score": min(scores, default=0.0), "model_version": version}


def _version(row: dict[str, Any]) -> str:
    """Who answered, with which exemplars and parameters: the same answers have the same name."""
    together = "".join(str(row[name]) for name in DIGESTS)
    return f"tlg-{hashlib.blake2b(together.encode(), digest_size=6).hexdigest()}"


def _post(api: Studio, project: int, predictions: list[dict[str, Any]]) -> None:
    """A page whose answer is lost may have arrived; it is looked for when the command is started again."""
    path = f"/api/projects/{project}/import/predictions"
    answer = api.post(path, predictions)
    if answer.get("created") != len(predictions):
        raise StorageError(f"{api.address}{path}: took {answer.get('created')} of {len(predictions)} predictions")
