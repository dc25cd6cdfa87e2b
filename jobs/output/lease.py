"""One writer per output: a lease that expires and a number that grows, so that a late writer is found out.

Every holder creates the next file of `_lease/`, `00000001.json`, `00000002.json`, ..., with a conditional put:
the store itself lets one of two contenders win. The holder rewrites its own file while it lives; whoever sees
the newest file unchanged for its whole term may create the next one, and the old holder is fenced off.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from tlg import store
from tlg.errors import LeaseHeldError, StorageError

log = logging.getLogger(__name__)

FOLDER = "_lease"
TERM_SECONDS = 30.0
# Wall clocks of two machines may differ; only a lease this long past its end is dead without watching it.
CLOCK_MARGIN_SECONDS = 300.0


class Lease:
    """`with Lease(output, run_id)`: held and renewed inside; `confirm()` before anything becomes visible."""

    def __init__(
        self,
        output: str,
        run_id: str,
        access: store.Access = store.DEFAULT_ACCESS,
        term_seconds: float = TERM_SECONDS,
    ):
        self.number = 0
        self._output, self._run_id, self._access, self._term = output, run_id, access, term_seconds
        self._folder = f"{output.rstrip('/')}/{FOLDER}"
        self._renewed = 0.0
        self._beats = 0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._renew_until_ended, daemon=True)

    def __enter__(self) -> Lease:
        newest = self._newest()
        if newest and not self._is_over(newest):
            newest = self._watch(newest)
        self.number = (newest["number"] if newest else 0) + 1
        if not store.create(self._path(self.number), self._content(), self._access):
            raise LeaseHeldError(f"{self._output}: another run has just started to write here; wait for it to end")
        self._renewed = time.monotonic()
        for entry in store.listed(self._folder, "*.json", self._access)[:-1]:
            store.delete(entry.uri, self._access)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._heart.join()
        try:
            self.confirm()
            store.write(self._path(self.number), self._content(released=True), self._access)
        except (LeaseHeldError, StorageError) as error:
            log.warning("the lease could not be given back, it ends by itself: %s", error)

    def confirm(self) -> None:
        """Raise LeaseHeldError unless this run still is the writer."""
        newest = self._newest()
        if newest and newest["number"] > self.number:
            raise LeaseHeldError(
                f"{self._output}: run {newest['run_id']} took over while this one was silent; "
                "nothing more is written by this run"
            )

    def _watch(self, newest: dict[str, Any]) -> dict[str, Any]:
        """Wait for the holder's sign of life: it raises, silence for a whole term returns the dead lease."""
        deadline = time.monotonic() + newest["term_seconds"]
        seen = newest
        while not _process_is_alive_here(newest) and time.monotonic() < deadline:
            time.sleep(min(1.0, self._term / 10))
            seen = self._newest() or newest
            if self._is_over(seen):
                return seen
            if seen != newest:
                break
        else:
            if not _process_is_alive_here(newest):
                return newest
        raise LeaseHeldError(
            f"{self._output}: run {seen['run_id']} on {seen['host']} (process {seen['pid']}) is writing here; "
            "wait for it to end, stop it, or choose another output"
        )

    def _is_over(self, lease: dict[str, Any]) -> bool:
        if lease["released"] or lease["renewed_at"] + lease["term_seconds"] + CLOCK_MARGIN_SECONDS < time.time():
            return True
        return _is_of_this_machine(lease) and not _process_is_alive_here(lease)

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._term / 3):
            try:
                self.confirm()
                store.write(self._path(self.number), self._content(), self._access)
            except LeaseHeldError:
                return  # the next commit raises it where it can be handled
            except StorageError as error:
                log.warning("the lease could not be renewed yet: %s", error)

    def _newest(self) -> dict[str, Any] | None:
        while found := store.listed(self._folder, "*.json", self._access):
            try:
                content = json.loads(store.read(found[-1].uri, self._access))
            except StorageError as error:
                if error.missing:  # removed by a newer holder just now
                    continue
                raise
            return content | {"number": int(found[-1].uri.rsplit("/", 1)[1].split(".")[0])}
        return None

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.json"

    def _content(self, released: bool = False) -> bytes:
        self._beats += 1
        content = {
            "number": self.number,
            "run_id": self._run_id,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "process_started": _process_start(os.getpid()),
            "beats": self._beats,
            "renewed_at": time.time(),
            "term_seconds": self._term,
            "released": released,
        }
        return json.dumps(content).encode()


def _machine() -> str | None:
    """This boot of this machine, where pids mean what they say; containers see their own pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _is_of_this_machine(lease: dict[str, Any]) -> bool:
    return lease["machine"] is not None and lease["machine"] == _machine()


def _process_is_alive_here(lease: dict[str, Any]) -> bool:
    started = _process_start(lease["pid"])
    return _is_of_this_machine(lease) and started is not None and started == lease["process_started"]


def _process_start(pid: int) -> str | None:
    """When a process of this machine started, None if there is none: pids are used again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
