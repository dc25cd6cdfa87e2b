"""A Hugging Face hub as far as reading a data set goes: no registry has a hub that could be started here.

The requests are those of the hub's own client, huggingface_hub; the answers are what its documentation says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = "annotators/traps"
COMMIT = "5" * 40
TOKEN = "hf_correct"


@contextlib.contextmanager
def hub(files: dict[str, bytes]) -> Iterator[str]:
    """The address of a hub with one data set, REPOSITORY, that holds `files` and is shown to TOKEN alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if self._is_refused():
                return
            if path.startswith(f"/api/datasets/{REPOSITORY}/tree/main"):
                self._send(200, _tree(files, path.partition("/tree/main")[2].strip("/")))
            elif path in (f"/api/datasets/{REPOSITORY}", f"/api/datasets/{REPOSITORY}/revision/main"):
                self._send(200, {"id": REPOSITORY, "sha": COMMIT, "siblings": []})
            elif path.startswith(f"/datasets/{REPOSITORY}/resolve/main/"):
                self._file(files.get(path.partition("/resolve/main/")[2]))
            else:
                self._send(404, {"error": "not here"}, {"X-Error-Code": "RepoNotFound"})

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if not self._is_refused():
                named = [entry for entry in _described(files) if entry["path"] in asked.get("paths", [])]
                self._send(200, named)

        def _is_refused(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                return False
            self._send(401, {"error": "Invalid credentials in Authorization header"})
            return True

        def _file(self, content: bytes | None) -> None:
            if content is None:
                self._send(404, {"error": "not here"}, {"X-Error-Code": "EntryNotFound"})
                return
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last) + 1 if last else None]
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)

        def _send(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _described(files: dict[str, bytes]) -> list[dict[str, object]]:
    entries: dict[str, dict[str, object]] = {}
    for path, content in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            entries[folder] = {"type": "directory", "oid": hashlib.sha1(folder.encode()).hexdigest(), "path": folder}
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entries[path] = {"type": "file", "oid": blob, "size": len(content), "path": path}
    return list(entries.values())


def _tree(files: dict[str, bytes], folder: str) -> list[dict[str, object]]:
    return [entry for entry in _described(files) if str(entry["path"]).rpartition("/")[0] == folder]
