"""One writer per output: a lease that expires and a number that grows, so that a late writer is found out.

Every holder creates the next file of `_lease/`, `00000001.json`, `00000002.json`, ..., with a conditional put:
the store itself lets one of two contenders win. The holder rewrites its own file while it lives; whoever sees
the newest file unchanged for its whole term may create the next one, and the old holder is fenced off. Clocks of
two machines are never compared.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlg import store
from tlg.errors import LeaseHeldError, StorageError

log = logging.getLogger(__name__)

FOLDER = "_lease"
NAME = re.compile(r"(\d{8,})\.json")
TERM_SECONDS = 30.0
# From Linux's sched.h: the kernel is taking the process down.
PF_EXITING = 0x4
# What a lease file that was cut short is taken for: a holder of whom nothing is known, so it is watched.
UNKNOWN: dict[str, Any] = {
    "run_id": "(unknown)",
    "host": "(unknown)",
    "machine": None,
    "pid": 0,
    "process_started": None,
    "beats": -1,
    "renewed_at": 0.0,
    "term_seconds": TERM_SECONDS,
    "released": False,
}


class Lease:
    """`with Lease(output, run_id)`: held and renewed inside; `confirm()` before anything becomes visible or goes."""

    def __init__(
        self,
        output: str,
        run_id: str,
        access: store.Access = store.DEFAULT_ACCESS,
        term_seconds: float = TERM_SECONDS,
    ):
        self.number = 0
        self.run_id = run_id
        self._output, self._access, self._term = output, access, term_seconds
        # A sign of life that waits for its store any longer comes too late.
        self._beat_access = replace(access, patience_seconds=term_seconds / 3)
        self._folder = f"{output.rstrip('/')}/{FOLDER}"
        self._beats = 0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._renew_until_ended, daemon=True)

    def __enter__(self) -> Lease:
        newest = self._newest()
        if newest and not _is_over(newest):
            newest = self._watch(newest)
        self.number = (newest["number"] if newest else 0) + 1
        created = store.create(self._path(self.number), self._content(), self._access)
        holder = self._newest()
        # Neither the answer to the put decides (it may have been lost, or two may have been told yes), nor its number
        # (ours may be an old one, free again): who is in the newest file holds the lease.
        if holder is None or (holder["number"], holder["run_id"]) != (self.number, self.run_id):
            if created and holder and holder["number"] > self.number:
                store.delete(self._path(self.number), self._access)
            raise LeaseHeldError(f"{self._output}: another run has just started to write here; wait for it to end")
        for uri, number in self._files(self._access):
            if number < self.number:
                store.delete(uri, self._access)
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
        self._confirm(self._access)

    def _confirm(self, access: store.Access) -> None:
        newest = self._newest(access)
        if newest is None:
            raise LeaseHeldError(
                f"{self._output}: the lease of this run was removed from {FOLDER}/; "
                "nothing more is written by this run, run it again"
            )
        if newest["number"] > self.number or newest["run_id"] not in (self.run_id, UNKNOWN["run_id"]):
            raise LeaseHeldError(
                f"{self._output}: run {newest['run_id']} took over while this one was silent; "
                "nothing more is written by this run"
            )

    def _watch(self, newest: dict[str, Any]) -> dict[str, Any]:
        """Wait for the holder's sign of life: it raises, silence for a whole term returns the dead lease."""
        deadline = time.monotonic() + newest["term_seconds"]
        seen = newest
        while not _has_just_renewed(newest) and time.monotonic() < deadline:
            time.sleep(min(1.0, self._term / 10))
            seen = self._newest() or newest
            if _is_over(seen):
                return seen
            if seen != newest:
                break
        else:
            if not _has_just_renewed(newest):
                return newest
        raise LeaseHeldError(
            f"{self._output}: run {seen['run_id']} on {seen['host']} (process {seen['pid']}) is writing here; "
            "wait for it to end, stop it, or choose another output"
        )

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._term / 3):
            try:
                self._confirm(self._beat_access)
                store.write(self._path(self.number), self._content(), self._beat_access)
            except LeaseHeldError:
                return  # the next commit raises it where it can be handled
            except Exception as error:  # whatever it is, a heart that stops would give the lease away
                log.warning("the lease could not be renewed yet: %s: %s", type(error).__name__, error)

    def _files(self, access: store.Access) -> list[tuple[str, int]]:
        """Lease files with their numbers, oldest first; whatever else lies there is none of ours."""
        files = []
        for entry in store.listed(self._folder, "*.json", access):
            if match := NAME.fullmatch(entry.uri.rsplit("/", 1)[1]):
                files.append((entry.uri, int(match.group(1))))
        return sorted(files, key=lambda file: file[1])

    def _newest(self, access: store.Access | None = None) -> dict[str, Any] | None:
        access = access or self._access
        while files := self._files(access):
            uri, number = files[-1]
            try:
                content = store.read(uri, access)
            except StorageError as error:
                if error.missing:  # removed by a newer holder just now
                    continue
                raise
            return UNKNOWN | _parsed(content) | {"number": number}
        return None

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.json"

    def _content(self, released: bool = False) -> bytes:
        self._beats += 1
        content = {
            "number": self.number,
            "run_id": self.run_id,
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


def _parsed(content: bytes) -> dict[str, Any]:
    """A lease file's content; nothing of one that was cut short."""
    try:
        lease = json.loads(content)
    except ValueError:
        return {}
    return lease if isinstance(lease, dict) else {}


def _is_over(lease: dict[str, Any]) -> bool:
    return lease["released"] or (_is_of_this_machine(lease) and not _process_is_alive_here(lease))


def _has_just_renewed(lease: dict[str, Any]) -> bool:
    """Whether a living process of this machine, whose clock is ours, renewed it within its term. A killed process
    takes a moment to end, in which it renews nothing: its end is worth waiting for."""
    age = time.time() - lease["renewed_at"]
    return _process_is_alive_here(lease) and not _is_ending(lease["pid"]) and 0 <= age < lease["term_seconds"]


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
    """When a process of this machine started, None if there is none: pids are used again, and the dead that nobody
    has waited for stay listed."""
    state = _process_state(pid)
    return None if not state or state[0] in "ZX" else state[19]


def _is_ending(pid: int) -> bool:
    state = _process_state(pid)
    return not state or bool(int(state[6]) & PF_EXITING)


def _process_state(pid: int) -> list[str]:
    """What the kernel says of a process behind its name, nothing where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
