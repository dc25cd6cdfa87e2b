"""A CVAT task that receives annotations. A frame that has any, a person's or pushed ones, is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.connectors import cvat_shapes
from jobs.output.parts import Rows
from tlg import store
from tlg.answers.records import object_rows
from tlg.errors import SpecError
from tlg.store import cvat
from tlg.store.retry import patiently

LABELS_PER_PAGE = 100


class Task:
    def __init__(self, uri: str, access: store.Access):
        self._api, self._number = cvat.task_of(uri)
        self._patience = access.patience_seconds
        self._labels = {label["name"]: label for label in self._all_labels() if label["type"] in cvat_shapes.TYPES}
        if not self._labels:
            raise SpecError(
                f"{uri}: its labels take no masks, outlines or boxes; add labels of the type "
                f"{', '.join(cvat_shapes.TYPES)}"
            )
        base = uri.rstrip("/")
        frames = cvat.frames(uri, self._patience)
        self._frames = {f"{base}/{frame.name()}": frame.number for frame in frames}
        self._annotated = self._annotated_frames()
        self._unknown: set[str] = set()

    def knows(self, image_uri: str) -> bool:
        return image_uri in self._frames

    def has(self, rows: Rows) -> bool:
        return self._frames[rows[0]["image_uri"]] in self._annotated

    def prediction(self, rows: Rows) -> list[dict[str, Any]] | None:
        masks = [row for row in object_rows(rows) if row["status"] == "mask"]
        self._unknown |= {row["class_name"] for row in masks} - self._labels.keys()
        return [
            shape | {"frame": self._frames[rows[0]["image_uri"]]}
            for row in masks
            if (label := self._labels.get(row["class_name"]))
            for shape in cvat_shapes.shapes(row, label)
        ] or None

    def post(self, predictions: list[list[dict[str, Any]]]) -> None:
        """A page whose answer is lost may have arrived; it is looked for when the command is started again."""
        content = {"shapes": [shape for shapes in predictions for shape in shapes], "tags": [], "tracks": []}
        self._api.patch(f"/api/tasks/{self._number}/annotations/", content, action="create")

    def remarks(self) -> Iterator[str]:
        if self._unknown:
            yield f"left out, since the task has no label of that name: {', '.join(sorted(self._unknown))}"

    def _all_labels(self) -> Iterator[dict[str, Any]]:
        task = patiently(lambda: self._api.get(f"/api/tasks/{self._number}"), self._patience)
        organization = {"org_id": task["organization"]} if task.get("organization") else {}
        page = 0
        while True:
            page += 1
            query = {"task_id": self._number, "page": page, "page_size": LABELS_PER_PAGE, **organization}
            answer = patiently(lambda query=query: self._api.get("/api/labels", **query), self._patience)  # type: ignore[misc]
            yield from answer["results"]
            if not answer.get("next"):
                return

    def _annotated_frames(self) -> frozenset[int]:
        path = f"/api/tasks/{self._number}/annotations/"
        there = patiently(lambda: self._api.get(path), self._patience)
        return frozenset(item["frame"] for kind in ("shapes", "tags", "tracks") for item in there[kind])
