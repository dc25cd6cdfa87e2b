"""How far a run is: one line that rewrites itself on a terminal, log lines elsewhere. Counted in images."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from jobs.output.runs import RunSummary, duration, pace

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 15.0
# The rate is that of the last minutes: start-up and long-gone slowness do not colour what is still to come.
WINDOW_SECONDS = 120.0
# The first answers come all at once, when the workers are up: they tell no rate.
SEEN_SECONDS = 5.0


class Progress:
    """`wait()` for the first answers, `update()` after every block.

    Rate and time left are in the summary, None until something is known.
    """

    def __init__(self, summary: RunSummary, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        self._summary, self._stream, self._clock = summary, stream or sys.stderr, clock
        self._on_terminal = self._stream.isatty()
        self._points: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None
        self._began = self._shown = clock()
        self._came = threading.Event()

    def update(self, received: int) -> None:
        """Nothing is said of what is left before the rate of answers has been seen for a while."""
        now = self._clock()
        if self._first is None:
            self._came.set()
            self.say(f"first answers after {duration(now - self._began)}")
        self._points.append((now, received))
        while len(self._points) > 2 and self._points[1][0] < now - WINDOW_SECONDS:
            self._points.popleft()
        (began, before), (ended, after) = self._points[0], self._points[-1]
        if ended - began >= SEEN_SECONDS and after > before:
            self._summary.images_per_second = (after - before) / (ended - began)
            self._summary.seconds_left = (self._summary.images - received) / self._summary.images_per_second
        if self._first is None:
            self._first = (now, received)
        elif now > self._first[0]:
            self._summary.steady_images_per_second = (received - self._first[1]) / (now - self._first[0])
        if now - self._shown >= (TERMINAL_SECONDS if self._on_terminal else LOG_SECONDS):
            self._shown = now
            self._show(line(self._summary, received))

    def wait(self, text: str) -> None:
        """Say what is waited for, and for how long, until the first answers come or the run ends."""
        self.say(text)
        threading.Thread(target=self._say_again, args=(text, self._clock()), daemon=True).start()

    def close(self) -> None:
        """Nothing is waited for any more."""
        self._came.set()

    def _say_again(self, text: str, began: float) -> None:
        shown = ""
        while not self._came.wait(TERMINAL_SECONDS if self._on_terminal else LOG_SECONDS):
            waited = f"{text}, {duration(self._clock() - began)}"
            if waited != shown:  # after a minute and a half a log has a line a minute
                shown = waited
                self._show(waited)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._stream.write(("\r\x1b[K" if self._on_terminal else "") + text + "\n")
        self._stream.flush()

    def _show(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}" if self._on_terminal else f"{text}\n")
        self._stream.flush()


def line(summary: RunSummary, received: int) -> str:
    parts = [f"{received:,} / {summary.images:,} images"]
    if summary.images_per_second:
        parts.append(pace(summary.images_per_second))
    parts += [f"{summary.masks:,} masks", f"{summary.errors:,} errors"]
    if summary.deferred:
        parts.append(f"{summary.deferred:,} deferred")
    if summary.seconds_left is not None:
        parts.append(f"about {duration(summary.seconds_left)} left")
    return " · ".join(parts)
