"""A CVAT as far as one task of pictures goes: its server is a set of containers, so no registry has it.

The requests are those of CVAT's own SDK, which reads every answer here into its strict models
(tests/deploy/test_tool_sdks.py).
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "correct-horse"
TASK = 7
CHUNK = 72  # pictures that CVAT's own programs take at once
NOWHERE = {"detail": "No Task matches the given query."}
ROUTE = re.compile(r"/api/(server/about|labels|tasks/(\d+)(/data/|/data/meta|/annotations/)?)")


@dataclass
class Cvat:
    """A task's pictures by name, its labels by type, and what has been annotated."""

    pictures: dict[str, bytes]
    labels: dict[str, str]
    size: tuple[int, int] = (40, 40)
    deleted: list[int] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    @property
    def uri(self) -> str:
        return f"cvat+{self.url}/tasks/{TASK}"

    def label(self, number: int, name: str) -> dict[str, Any]:
        about = {"color": "#33ddff", "attributes": [], "sublabels": [], "has_parent": False, "parent_id": None}
        return {"id": number, "name": name, "type": self.labels[name], "task_id": TASK, **about}

    def page_of_labels(self, page: int, size: int) -> dict[str, Any]:
        every = [self.label(50 + number, name) for number, name in enumerate(self.labels)]
        more = f"{self.url}/api/labels?page={page + 1}" if page * size < len(every) else None
        return {
            "count": len(every),
            "next": more,
            "previous": None,
            "results": every[(page - 1) * size : page * size],
        }

    def task(self) -> dict[str, Any]:
        kinds = {"data_original_chunk_type": "imageset", "data_compressed_chunk_type": "imageset"}
        return {
            "url": f"{self.url}/api/tasks/{TASK}",
            "id": TASK,
            "name": "traps",
            "jobs": {"count": 1, "completed": 0, "validation": 0, "url": f"{self.url}/api/jobs?task_id={TASK}"},
            "labels": {"url": f"{self.url}/api/labels?task_id={TASK}"},
            "mode": "annotation",
            "dimension": "2d",
            "status": "annotation",
            "size": len(self.pictures),
            "data": 3,
            "organization": None,
            "updated_date": "2026-01-31T08:00:00Z",
            "data_chunk_size": CHUNK,
            **kinds,
        }

    def meta(self) -> dict[str, Any]:
        width, height = self.size
        frames = [
            {"name": name, "width": width, "height": height, "related_files": 0, "has_related_context": False}
            for name in self.pictures
        ]
        return {
            "chunks_updated_date": "2026-01-31T08:00:00Z",
            "chunk_size": CHUNK,
            "size": len(frames),
            "image_quality": 70,
            "start_frame": 0,
            "stop_frame": len(frames) - 1,
            "frame_filter": "",
            "frames": frames,
            "deleted_frames": self.deleted,
            "chapters": None,
            "included_frames": None,
        }

    def data(self, asked: dict[str, str]) -> bytes | None:
        """A frame as it was uploaded, or all frames as the one chunk that there is; None for others."""
        number = int(asked["number"])
        assert asked["quality"] == "original", asked
        if asked["type"] == "chunk":
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as chunk:
                for position, picture in enumerate(self.pictures.values()):
                    chunk.writestr(f"{position:06d}.png", picture)
            return stream.getvalue()
        return list(self.pictures.values())[number] if number < len(self.pictures) else None

    def annotations(self) -> dict[str, Any]:
        return {"version": 0, "tags": [], "tracks": [], "intervals": [], "shapes": self.shapes}

    def create(self, content: dict[str, Any]) -> None:
        usual = {"outside": False, "z_order": 0, "rotation": 0.0, "group": 0, "elements": []}
        for shape in content["shapes"]:
            self.shapes.append(usual | shape | {"id": len(self.shapes) + 1})


@contextlib.contextmanager
def serving(cvat: Cvat) -> Iterator[Cvat]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place, asked = self._asked()
            if place is None:
                return
            if place == "server/about":
                self._send(
                    200, {"name": "CVAT", "description": "", "version": "2.80.0", "logo_url": "", "subtitle": ""}
                )
            elif place == "labels":
                self._send(200, cvat.page_of_labels(int(asked.get("page", 1)), int(asked.get("page_size", 10))))
            elif place.endswith("/data/meta"):
                self._send(200, cvat.meta())
            elif place.endswith("/annotations/"):
                self._send(200, cvat.annotations())
            elif place.endswith("/data/"):
                content = cvat.data(asked)
                if content is None:
                    self._send(404, NOWHERE)
                else:
                    self._body(200, content, "application/octet-stream")
            else:
                self._send(200, cvat.task())

        def do_PATCH(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            place, asked = self._asked()
            if place is None:
                return
            assert (place, asked) == (f"tasks/{TASK}/annotations/", {"action": "create"})
            cvat.create(content)
            self._send(200, cvat.annotations())

        def _asked(self) -> tuple[str | None, dict[str, str]]:
            """What is asked for, None where the answer is given already."""
            parts = urlsplit(self.path)
            route = ROUTE.fullmatch(parts.path)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}" and parts.path != "/api/server/about":
                self._send(401, {"detail": "Authentication credentials were not provided."})
            elif route is None or route[2] not in (None, str(TASK)):
                self._send(404, NOWHERE)
            else:
                return route[1], {name: values[0] for name, values in parse_qs(parts.query).items()}
            return None, {}

        def _send(self, status: int, content: object) -> None:
            self._body(status, json.dumps(content).encode(), "application/vnd.cvat+json")

        def _body(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        cvat.url = f"http://127.0.0.1:{server.server_port}"
        yield cvat
        server.shutdown()
