"""Every night by itself: manifests for Kubernetes, lines for one machine, or a small scheduler in the foreground.

Whatever fires, the output's lease lets one run write at a time, and a run does only what is missing: nights that
overlap end with LeaseHeldError's exit code, nights that were missed are made up for by the next one.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from deploy.manifests import cron, kubernetes
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec

TARGETS = (*kubernetes.SCHEDULED, "systemd", "crontab", "local")
# A laptop that slept, or a clock that was set, is noticed this soon.
LONGEST_SLEEP_SECONDS = 60.0


def command(spec_path: str, address: str | None, assignments: Sequence[str] = ()) -> list[str]:
    """What one night runs here: the job itself, or its submission to a cluster."""
    tlg = [sys.executable, "-m", "tlg"]
    path = os.path.abspath(spec_path) if "://" not in spec_path else spec_path
    changed = [word for assignment in assignments for word in ("--set", assignment)]
    if address is None:
        return [*tlg, "annotate", path, *changed]
    return [*tlg, "submit", path, *changed, "--address", address, "--again", "--wait"]


def entries(spec: AnnotateSpec, night: Sequence[str], target: str, cron_line: str, timezone: str) -> str:
    """What a scheduler is given to run `night`: manifests, systemd units or crontab lines.

    Raises SpecError where the schedule cannot be said there. Manifests hold the spec and run it in the cluster.
    """
    if target in kubernetes.SCHEDULED:
        if "--address" in night:
            raise SpecError(f"target {target} brings its own cluster; --address is for systemd, crontab and local")
        return kubernetes.render(spec, target, cron_line, timezone)
    if target == "systemd":
        return _systemd(spec, night, cron.to_systemd(cron_line, timezone))
    if target == "crontab":
        cron.check(cron_line, timezone)
        return _crontab(spec, night, cron_line, timezone)
    raise SpecError(f"target {target!r}: expected one of {', '.join(TARGETS)}")


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


def _systemd_word(word: str) -> str:
    """One argument of ExecStart as it is: systemd would expand `%` and `$` inside quotes too."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(character, written)
    return f'"{word}"'


def _systemd(spec: AnnotateSpec, night: Sequence[str], calendar: str) -> str:
    unit = f"tlg-{spec.name}"
    quoted = " ".join(_systemd_word(word) for word in night)
    return f"""\
# ~/.config/systemd/user/{unit}.service
[Unit]
Description=Annotate {spec.name}

[Service]
Type=oneshot
ExecStart={quoted}
# Credentials of the stores and the cluster's token, one NAME=value a line.
EnvironmentFile=-%h/.config/tlg/{spec.name}.env
TimeoutStartSec={spec.deploy.deadline_seconds}

# ~/.config/systemd/user/{unit}.timer
[Unit]
Description=Annotate {spec.name} on schedule

[Timer]
OnCalendar={calendar}
# Nights missed while the machine was off become one run at the next start.
Persistent=true

[Install]
WantedBy=timers.target
"""


def _crontab(spec: AnnotateSpec, night: Sequence[str], cron_line: str, timezone: str) -> str:
    line = shlex.join(["timeout", str(spec.deploy.deadline_seconds), *night]).replace("%", r"\%")
    return f"""\
# {spec.name}: add with `crontab -e`. CRON_TZ is understood by cronie; other crons use the machine's time zone.
CRON_TZ={timezone}
{cron_line} {line}
"""
