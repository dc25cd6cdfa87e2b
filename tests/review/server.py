"""`tlg review` as a process of its own, and the requests of a person's page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ADDRESS = re.compile(r"http://\S+/")


@dataclass
class ReviewServer:
    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> str:
        """Ctrl-C; returns what it printed at its end."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=120)[0]


@contextmanager
def serving(out: Path, *options: str) -> Iterator[ReviewServer]:
    command = [sys.executable, "-u", "-m", "tlg", "review", str(out), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = ADDRESS.search(line)
        assert found, f"{line}{process.stdout.read()}"
        yield ReviewServer(process, found[0])
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
