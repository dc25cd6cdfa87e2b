"""A real store for each scheme, with what a user's environment holds to reach it, and the same with a wrong secret."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from tests.servers import azurite as azure
from tests.servers import google_store, hub, sftp, swift
from tlg import store
from tlg.store import registry

CONTENT = {f"in/{number}/a b+{number}.png": bytes([number]) * (1000 + number) for number in range(3)}


@dataclass(frozen=True)
class Place:
    """A bucket or folder that is empty but for CONTENT, and how it is reached."""

    uri: str
    environment: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    endpoint: str | None = None

    @property
    def access(self) -> store.Access:
        return store.Access(self.endpoint, patience_seconds=10)


@contextlib.contextmanager
def environment_of(place: Place, wrong: bool = False) -> Iterator[None]:
    """As a new process would see it: what libraries remembered of another environment is forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**place.environment, **(place.wrong if wrong else {})}.items():
            patch.setenv(name, value)
        _forget(place)
        yield
    _forget(place)


def _forget(place: Place) -> None:
    store.s3_client.cache_clear()
    registry._made.cache_clear()
    fsspec.config.conf.clear()
    fsspec.config.set_conf_env(fsspec.config.conf)
    scheme = store.scheme(place.uri)
    if scheme not in ("file", "s3", "http"):
        fsspec.get_filesystem_class(scheme).clear_instance_cache()


@contextlib.contextmanager
def of(scheme: str) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(PLACES[scheme]())
        if scheme not in READ_ONLY:
            with environment_of(place):
                for name, content in CONTENT.items():
                    store.write(f"{place.uri}/{name}", content, place.access)
        yield place


@contextlib.contextmanager
def _folder() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        yield Place(folder)


@contextlib.contextmanager
def _s3() -> Iterator[Place]:
    with swift.Swift() as server:
        keys = {"AWS_ACCESS_KEY_ID": swift.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": swift.SECRET_KEY}
        place = Place("s3://traps", keys, {"AWS_SECRET_ACCESS_KEY": "wrong"}, server.endpoint)
        with environment_of(place):
            store.s3_client(place.access).create_bucket(Bucket="traps")
        yield place


@contextlib.contextmanager
def _google() -> Iterator[Place]:
    """The server asks nobody for credentials, so the wrong ones meet Google's other server, that of tokens."""
    with google_store.google_store() as environment, _refusing_tokens() as key_file:
        google_store.make_bucket(environment["STORAGE_EMULATOR_HOST"], "traps")
        yield Place("gs://traps", environment, {"FSSPEC_GS_TOKEN": str(key_file)})


@contextlib.contextmanager
def _azure() -> Iterator[Place]:
    with azure.azurite() as environment:
        variable = "AZURE_STORAGE_CONNECTION_STRING"
        wrong = {variable: environment[variable].replace(azure.KEY, azure.WRONG_KEY)}
        place = Place("az://traps", environment, wrong)
        with environment_of(place):
            fsspec.filesystem("az", connection_string=environment[variable]).mkdir("traps")
        yield place


@contextlib.contextmanager
def _hub() -> Iterator[Place]:
    with hub.hub(CONTENT) as url:
        # The hub's own client reads its variables once, when it is imported, so the address is the job's endpoint.
        wrong = {"FSSPEC_HF_TOKEN": "hf_wrong"}
        yield Place(f"hf://datasets/{hub.REPOSITORY}", {"FSSPEC_HF_TOKEN": hub.TOKEN}, wrong, url)


@contextlib.contextmanager
def _sftp() -> Iterator[Place]:
    with sftp.sftp() as (uri, environment):
        yield Place(uri, environment, {"FSSPEC_SFTP_PASSWORD": "wrong"})


@contextlib.contextmanager
def _web() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in CONTENT.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

        with _serving(partial(Quiet, directory=folder)) as url:
            yield Place(url)


@contextlib.contextmanager
def _refusing_tokens() -> Iterator[Path]:
    """A service account's key of this test alone, whose token server says what Google's says to an unknown key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with _serving(Refusing) as url, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key.json"
        account = {"type": "service_account", "project_id": "traps", "private_key": key.decode()}
        account |= {"client_email": "annotators@traps.example", "token_uri": f"{url}/token"}
        file.write_text(json.dumps(account))
        yield file


@contextlib.contextmanager
def _serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


PLACES: dict[str, Callable[[], contextlib.AbstractContextManager[Place]]] = {
    "file": _folder,
    "s3": _s3,
    "gs": _google,
    "az": _azure,
    "hf": _hub,
    "sftp": _sftp,
    "http": _web,
}
READ_ONLY = ("hf", "http")
