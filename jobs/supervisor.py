"""A command's work in a process of its own, so that the command can say what ended it from below.

Where Ray loses its own processes it ends the process that uses it, in the middle of everything and without a word to
Python. Lines of Ray's libraries go no further than this: they read like failures where nothing has failed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from tlg.errors import ClusterError, TlgError

# `[2026-11-26 10:43:16,240 E 22652 22652] core_worker.cc:2465: ...`
LINE_OF_RAY = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\].*?\.(?:cc|cpp|h):\d+: ")
# From Linux's prctl.h: a signal for this process when its parent has gone.
PR_SET_PDEATHSIG = 1
# Ray leaves with it; so does Python, but not without having told.
ENDED_BY_RAY = (1, -signal.SIGABRT)


def supervised(work: Callable[[], int], after_loss: Callable[[], object]) -> int:
    """What `work` returns or raises. `after_loss` is called where its process was ended from below.

    Where this process is not a command's alone, the work is done in it.
    """
    if not _is_a_command():
        return work()
    sys.stdout.flush()
    sys.stderr.flush()
    told, tell = os.pipe()
    seen, lines = os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        _end_with(parent)
        for end in (told, seen):
            os.close(end)
        _do(work, tell, lines)
    for end in (tell, lines):
        os.close(end)
    with _Handed(child):
        relay = threading.Thread(target=_relay, args=(seen,), daemon=True)
        relay.start()
        with os.fdopen(told, "rb") as file:
            content = file.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        relay.join(1.0)  # whoever else has its end of it, like a decoder, may live a little longer
    if content:
        outcome = pickle.loads(content)
        if isinstance(outcome, TlgError):
            raise outcome
        return outcome
    if code in ENDED_BY_RAY:
        with contextlib.suppress(TlgError):
            after_loss()
        raise ClusterError(
            "Ray ended the run: a process of its own on this machine is gone (killed, or out of memory); "
            "what is committed stays, run again to go on"
        )
    if code < 0:
        name = signal.Signals(-code).name
        print(f"the run's process ended with {name}; what is committed stays, run again to go on", file=sys.stderr)
    # As a shell tells it.
    return code if code >= 0 else 128 - code


def _is_a_command() -> bool:
    """A program of its own, of one thread, that prints where its child would print, and has no Ray; on Linux, where
    libraries take a fork well."""
    ray = sys.modules.get("ray")
    uses_ray = ray is not None and ray.is_initialized()
    is_alone = threading.current_thread() is threading.main_thread() and threading.active_count() == 1
    return sys.platform.startswith("linux") and is_alone and not uses_ray and sys.stdout is sys.__stdout__


def _do(work: Callable[[], int], tell: int, lines: int) -> NoReturn:
    """In the child: nothing of the parent's is cleaned up twice, and no library can hold up the end."""
    # Ctrl-C is for the parent, which hands it on, once.
    os.setpgid(0, 0)
    # What Python prints goes where it went; what libraries print goes through the parent.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.dup2(lines, 2)
    os.close(lines)
    outcome: int | TlgError = 1
    try:
        outcome = work()
    except TlgError as error:
        outcome = error
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(tell, "wb") as file:
        file.write(pickle.dumps(outcome))
    os._exit(0)


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went in between
        os._exit(1)


class _Handed:
    """`with` it: what this process is told by signals is handed on to its child."""

    def __init__(self, child: int):
        self._child = child

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._hand_on) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, number)


def _relay(seen: int) -> None:
    with os.fdopen(seen, "rb", buffering=0) as file:
        rest = b""
        while content := file.read(1 << 16):
            *whole, rest = (rest + content).split(b"\n")
            for line in whole:
                _show(line + b"\n")
        _show(rest)


def _show(line: bytes) -> None:
    if line and not LINE_OF_RAY.match(line):
        os.write(2, line)
