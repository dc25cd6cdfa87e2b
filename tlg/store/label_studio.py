"""A Label Studio project as a collection: `label-studio+http://studio:8080/projects/7`, which is only read.

An image is its task, `.../projects/7/tasks/12/fox.jpg`, whether Label Studio keeps the file or names another store.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from tlg.errors import StorageError
from tlg.store.label_studio_api import Studio, studio
from tlg.store.places import Access, Entry, scheme
from tlg.store.protocol import LeftOut, Store, WholeStore
from tlg.store.retry import patiently

PREFIX = "label-studio+"
PROJECT = re.compile(r"label-studio\+(https?://.+?)/projects/(\d+)(?:/tasks/(\d+)/[^/]+)?/?")
TASKS_PER_PAGE = 100
FIELDS = {"fields": "all", "include": "id,data,predictions_model_versions"}


@dataclass(frozen=True)
class Task:
    """One task of a project: where its image is, and which models have predicted it already."""

    number: int
    image: str
    model_versions: frozenset[str]

    def name(self) -> str:
        """As seen from the project."""
        return f"tasks/{self.number}/{unquote(urlsplit(self.image).path.rsplit('/', 1)[-1]) or 'image'}"


class LabelStudioStore(WholeStore):
    def __init__(self, access: Access, store_of: Callable[[str, Access], Store]):
        """`store_of` knows the stores that tasks may name."""
        super().__init__(access)
        self._store_of = store_of

    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        api, _, number = _parsed(uri)
        if number is None:
            raise StorageError(f"{uri}: names no task; expected {PREFIX}http://HOST/projects/7/tasks/12/NAME")
        image = _image(api.get(f"/api/tasks/{number}/").get("data"))
        if image is None:
            raise StorageError(f"{uri}: its task has no image", kind="not_a_file")
        own = image.removeprefix(api.address)
        if own.startswith("/"):
            return api.read(own, max_bytes)
        if scheme(image) == "file":
            raise StorageError(f"{uri}: its image is {image}, a path of Label Studio's own machine", denied=True)
        return self._store_of(image, self.access).read(image, max_bytes)

    def exists(self, uri: str) -> bool:
        try:
            api, project, number = _parsed(uri)
            api.get(f"/api/projects/{project}/" if number is None else f"/api/tasks/{number}/")
        except StorageError as error:
            if error.missing:
                return False
            raise
        return True

    def is_folder(self, uri: str) -> bool:
        return _parsed(uri)[2] is None and self.exists(uri)

    def entries(self, folder: str, left_out: LeftOut) -> Iterator[tuple[str, Entry]]:
        base = folder.rstrip("/")
        for task in tasks(folder, self.access.patience_seconds):
            if not task.image:
                left_out(f"{base}/tasks/{task.number}", "tasks without an image")
                continue
            version = hashlib.blake2b(task.image.encode(), digest_size=8).hexdigest()
            yield task.name(), Entry(f"{base}/{task.name()}", version, 0)


def tasks(project_uri: str, patience_seconds: float) -> Iterator[Task]:
    """Every task of a project, page by page, in the order of their numbers."""
    api, project, _ = _parsed(project_uri)
    seen, page = 0, 0
    while True:
        page += 1
        query = {"project": project, "page": page, "page_size": TASKS_PER_PAGE, **FIELDS}
        answer = patiently(lambda query=query: api.get("/api/tasks/", **query), patience_seconds)  # type: ignore[misc]
        for task in answer["tasks"]:
            versions = str(task.get("predictions_model_versions") or "").split(",")
            yield Task(
                task["id"],
                _image(task.get("data")) or "",
                frozenset(version.strip() for version in versions if version),
            )
        seen += len(answer["tasks"])
        if not answer["tasks"] or seen >= answer["total"]:
            return


def project_of(uri: str) -> tuple[Studio, int]:
    api, project, _ = _parsed(uri)
    return api, project


def _parsed(uri: str) -> tuple[Studio, int, int | None]:
    match = PROJECT.fullmatch(uri)
    if match is None:
        raise StorageError(f"{uri}: names no project; expected {PREFIX}http://HOST/projects/7")
    return studio(match[1]), int(match[2]), int(match[3]) if match[3] else None


def _image(data: Any) -> str | None:
    """What a task shows: its `image`, else the only value that is named like a picture."""
    values = data if isinstance(data, dict) else {}
    if isinstance(values.get("image"), str):
        return values["image"]
    for value in values.values():
        kind = mimetypes.guess_type(urlsplit(value).path)[0] if isinstance(value, str) else None
        if kind and kind.startswith("image/"):
            return value
    return None
