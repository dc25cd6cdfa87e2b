"""The whole endpoint over HTTP in this very process, without Ray: the same application, one replica, quick to start."""

from __future__ import annotations

import threading
from pathlib import Path

import uvicorn

from deploy.endpoint.api import create_app
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Collector, Meters
from deploy.guard.auth import Keys
from deploy.replica.pool import LocalSegmenter

START_SECONDS = 30


class Endpoint:
    """`with Endpoint(folder, model="tlg-tiny") as endpoint:` answers at `endpoint.url`; counts requests by path."""

    def __init__(
        self,
        folder: Path,
        keys: tuple[str, ...] = (),
        port: int = 0,
        segmenter: type[LocalSegmenter] = LocalSegmenter,
        **settings: object,
    ):
        config = ServeConfig(**({"model": "dry-run", "store": str(folder / "store")} | settings))
        self.requests: list[tuple[str, str, int]] = []  # method, path, announced bytes
        meters = Meters()

        async def scrape() -> str:
            collector = Collector()
            collector.push(meters.source, meters.samples())
            return collector.text()

        app = create_app(config, Keys(keys), segmenter(config, meters), meters, scrape)

        async def counted(scope, receive, send):
            if scope["type"] == "http":
                length = dict(scope["headers"]).get(b"content-length", b"0")
                self.requests.append((scope["method"], scope["path"], int(length)))
            await app(scope, receive, send)

        settings_of_server = uvicorn.Config(counted, "127.0.0.1", port, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(settings_of_server)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Endpoint:
        self._thread.start()
        for _ in range(START_SECONDS * 20):
            if self._server.started:
                break
            self._thread.join(0.05)
        sockets = self._server.servers[0].sockets
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(START_SECONDS)

    def asked(self, path: str) -> list[tuple[str, str, int]]:
        return [request for request in self.requests if request[1].startswith(path)]
