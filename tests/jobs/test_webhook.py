"""The summary reaches who listens, and a deaf listener never fails a run."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from jobs.output import webhook


class Listener(HTTPServer):
    def __init__(self, status: int):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.heard: list[dict] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret-part"


class Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def listen() -> Iterator:
    servers = []

    def start(status: int = 200) -> Listener:
        servers.append(Listener(status))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_summary_is_slack_json(listen):
    listener = listen()
    assert webhook.notify(listener.url, "traps", "done", {"images": 240, "errors": 2})
    assert listener.heard == [{"text": "*traps*: done\nimages 240, errors 2"}]


def test_the_environment_goes_before_the_spec(listen, monkeypatch):
    listener = listen()
    monkeypatch.setenv(webhook.ENVIRONMENT_NAME, listener.url)
    assert webhook.notify("http://127.0.0.1:1/", "traps", "failed", {})
    assert listener.heard == [{"text": "*traps*: failed"}]


def test_nobody_listens_nothing_is_sent(monkeypatch):
    monkeypatch.delenv(webhook.ENVIRONMENT_NAME, raising=False)
    assert not webhook.notify(None, "traps", "done", {})


def test_a_deaf_listener_is_logged_without_its_address(listen, caplog):
    with caplog.at_level(logging.WARNING):
        assert not webhook.notify(listen(status=500).url, "traps", "done", {})
        assert not webhook.notify("http://127.0.0.1:1/services/secret-part", "traps", "done", {})
    assert len(caplog.records) == 2
    assert "secret-part" not in " ".join(
        record.getMessage() for record in caplog.records if record.name == "jobs.output.webhook"
    )
