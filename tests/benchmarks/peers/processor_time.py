"""The processor time of a program and everything that it starts, whoever ends up as the parent.

Wall time depends on what else a machine does; this depends on it less.
"""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path
from typing import Any

# A process's last moments after a look are missed.
LOOK_SECONDS = 0.25
MARK = "PROCESSOR_TIME_OF"
TICKS = os.sysconf("SC_CLK_TCK")


class ProcessorTime:
    """`with` it: `seconds` of every process that has `surroundings` among its environment variables."""

    def __init__(self) -> None:
        self.surroundings = {MARK: uuid.uuid4().hex}
        self._by_process: dict[int, float] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProcessorTime:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        return sum(self._by_process.values())

    def _watch(self) -> None:
        mark = f"{MARK}={self.surroundings[MARK]}".encode()
        while not self._is_over.wait(LOOK_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                number = int(process.name)
                try:
                    # A process that gives itself a title, as Ray's do, writes over its environment.
                    if number not in self._by_process and mark not in (process / "environ").read_bytes():
                        continue
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                self._by_process[number] = (int(fields[11]) + int(fields[12])) / TICKS
