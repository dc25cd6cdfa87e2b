"""A CVAT task as a collection: `cvat+https://app.cvat.ai/tasks/7`, which is only read.

An image is a frame of the task, `.../tasks/7/frames/12/fox.jpg`, as it was uploaded.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from tlg.errors import StorageError
from tlg.store.places import Entry
from tlg.store.protocol import LeftOut, Store
from tlg.store.retry import patiently
from tlg.store.tool_api import ToolApi

PREFIX = "cvat+"
VARIABLE = "CVAT_ACCESS_TOKEN"
TASK = re.compile(r"cvat\+(https?://.+?)/tasks/(\d+)(?:/frames/(\d+)/.+)?/?")


class Cvat(ToolApi):
    """CVAT's API for one address, with the token that CVAT's own tools read."""

    tool = "CVAT"
    way_out = f"put a personal access token into {VARIABLE}"

    def headers(self, refused: dict[str, str] | None = None) -> dict[str, str]:
        token = os.environ.get(VARIABLE, "").strip()
        if not token:
            raise self._no_token()
        return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class Frame:
    """One picture of a task; `path` is what it was called when the task was made."""

    number: int
    path: str
    width: int
    height: int

    def name(self) -> str:
        """As seen from the task."""
        return f"frames/{self.number}/{self.path}"


class CvatStore(Store):
    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        api, task, number = _parsed(uri)
        if number is None:
            raise StorageError(f"{uri}: names no frame; expected {PREFIX}https://HOST/tasks/7/frames/12/NAME")
        return api.read(f"/api/tasks/{task}/data/", max_bytes, type="frame", quality="original", number=number)

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        return self.read(uri)[start : start + length]

    def open_input(self, uri: str) -> BinaryIO:
        return io.BytesIO(self.read(uri))

    def size(self, uri: str) -> int:
        return len(self.read(uri))

    def exists(self, uri: str) -> bool:
        api, task, number = _parsed(uri)
        try:
            if number is None:
                api.get(f"/api/tasks/{task}")
            else:
                self.read(uri)
        except StorageError as error:
            if error.missing:
                return False
            raise
        return True

    def is_folder(self, uri: str) -> bool:
        return _parsed(uri)[2] is None and self.exists(uri)

    def entries(self, folder: str, left_out: LeftOut) -> Iterator[tuple[str, Entry]]:
        base = folder.rstrip("/")
        for frame in frames(folder, self.access.patience_seconds):
            # A task's pictures are never replaced; a task that took its number would have others.
            version = f"{frame.path} {frame.width}x{frame.height}"
            etag = hashlib.blake2b(version.encode(), digest_size=8).hexdigest()
            yield frame.name(), Entry(f"{base}/{frame.name()}", etag, 0)


def frames(task_uri: str, patience_seconds: float) -> list[Frame]:
    """Every frame of a task that nobody has deleted."""
    api, task, _ = _parsed(task_uri)
    path = f"/api/tasks/{task}/data/meta"
    task_data = patiently(lambda: api.get(path), patience_seconds)
    described = task_data.get("frames") or []
    if len(described) != task_data.get("size", 0):
        raise StorageError(
            f"{task_uri}: found {task_data.get('size')} frames and {len(described)} pictures, so this is a video; "
            "expected a task of pictures"
        )
    deleted = frozenset(task_data.get("deleted_frames") or [])
    return [
        Frame(number, frame["name"], frame["width"], frame["height"])
        for number, frame in enumerate(described)
        if number not in deleted
    ]


def task_of(uri: str) -> tuple[Cvat, int]:
    api, task, _ = _parsed(uri)
    return api, task


def _parsed(uri: str) -> tuple[Cvat, int, int | None]:
    parts = TASK.fullmatch(uri)
    if parts is None:
        raise StorageError(f"{uri}: names no task; expected {PREFIX}https://HOST/tasks/7")
    return _cvat(parts[1]), int(parts[2]), int(parts[3]) if parts[3] else None


@lru_cache(maxsize=16)
def _cvat(address: str) -> Cvat:
    return Cvat(address)
