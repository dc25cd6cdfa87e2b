"""A server of a test as a process of its own: started, waited for, ended by its own process id."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.servers.environments import Unavailable

START_SECONDS = 60


@contextlib.contextmanager
def listening(
    command: Callable[[Path], list[str | Path]],
    port: int,
    environment: Mapping[str, str] | None = None,
    start_seconds: float = START_SECONDS,
) -> Iterator[Path]:
    """The server that `command(folder)` starts, from the moment at which it listens; the folder is its own."""
    folder = Path(tempfile.mkdtemp(prefix="server"))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command(folder), env=environment, cwd=folder, stdout=output, stderr=output)
    try:
        _wait(process, port, log, start_seconds)
        yield folder
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Unavailable(f"the server did not start: {log.read_text()[-2000:]}")
