"""Azure's blob store for tests: Azurite, Microsoft's own emulator, from the npm registry, on loopback."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environments import CACHE, Unavailable
from tests.servers.ports import free_port
from tests.servers.program import listening

PACKAGE = "azurite@3.37.0"
ACCOUNT = "annotators"
KEY = "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ=="
WRONG_KEY = "d3JvbmcgaG9yc2U="


@contextlib.contextmanager
def azurite() -> Iterator[dict[str, str]]:
    """What a user's environment holds to reach the store."""
    port = free_port()

    def command(folder: Path) -> list[str | Path]:
        options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        return [_program(), "--blobPort", str(port), "--location", folder, *options]

    environment = {"PATH": os.environ["PATH"], "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with listening(command, port, environment):
        yield {"AZURE_STORAGE_CONNECTION_STRING": connection(port, KEY)}


def connection(port: int, key: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


def _program() -> Path:
    """The emulator's program in `.cache/azurite`; made on first use, by one process at a time."""
    home = CACHE / "azurite"
    program = home / "node_modules" / ".bin" / "azurite-blob"
    home.mkdir(parents=True, exist_ok=True)
    with (CACHE / "azurite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            npm = shutil.which("npm")
            if npm is None:
                raise Unavailable("npm is not installed, so Azurite cannot be had")
            done = subprocess.run(
                [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", home, PACKAGE],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise Unavailable(f"Azurite cannot be installed: {' '.join(done.stderr.split())[-500:]}")
    return program
