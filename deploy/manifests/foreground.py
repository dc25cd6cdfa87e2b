"""A small scheduler in the foreground, for a laptop or a container."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from deploy.manifests import cron

# A laptop that slept, or a clock that was set, is noticed this soon.
LONGEST_SLEEP_SECONDS = 60.0


class Clock:
    """The machine's time, so that tests can have another."""

    def now(self, timezone: ZoneInfo) -> datetime:
        return datetime.now(timezone)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def run_local(
    night: Sequence[str],
    cron_line: str,
    timezone: str,
    clock: Clock | None = None,
    run: Callable[[Sequence[str]], int] = subprocess.call,
    show: Callable[[str], None] = print,
    nights: int | None = None,
) -> list[int]:
    """Start `night` whenever the schedule says, one at a time, `nights` times or for ever; returns exit codes.

    A start that passes while the machine sleeps happens on waking, once however many passed; those that pass
    during a run are dropped.
    """
    cron.check(cron_line, timezone)
    zone, clock = cron.zone(timezone), clock or Clock()
    codes: list[int] = []
    start = cron.next_start(cron_line, clock.now(zone))
    while nights is None or len(codes) < nights:
        show(f"next run: {start:%Y-%m-%d %H:%M %Z}")
        while (left := (start - clock.now(zone)).total_seconds()) > 0:
            clock.sleep(min(left, LONGEST_SLEEP_SECONDS))
        codes.append(run(night))
        show(f"run ended with exit code {codes[-1]}")
        start = cron.next_start(cron_line, clock.now(zone))
    return codes
