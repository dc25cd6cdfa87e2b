"""What the schedulers of one machine read: systemd's units and crontab's lines. See `schedule.Scheduler`."""

from __future__ import annotations

import shlex

from deploy.manifests import cron
from deploy.manifests.schedule import Nightly


def systemd(nightly: Nightly) -> str:
    unit = f"tlg-{nightly.spec.name}"
    quoted = " ".join(_systemd_word(word) for word in nightly.command)
    return f"""\
# ~/.config/systemd/user/{unit}.service
[Unit]
Description=Annotate {nightly.spec.name}

[Service]
Type=oneshot
ExecStart={quoted}
# Credentials of the stores and the cluster's token, one NAME=value a line.
EnvironmentFile=-%h/.config/tlg/{nightly.spec.name}.env
TimeoutStartSec={nightly.spec.deploy.deadline_seconds}

# ~/.config/systemd/user/{unit}.timer
[Unit]
Description=Annotate {nightly.spec.name} on schedule

[Timer]
OnCalendar={cron.to_systemd(nightly.cron, nightly.timezone)}
# Nights missed while the machine was off become one run at the next start.
Persistent=true

[Install]
WantedBy=timers.target
"""


def crontab(nightly: Nightly) -> str:
    line = shlex.join(["timeout", str(nightly.spec.deploy.deadline_seconds), *nightly.command]).replace("%", r"\%")
    return f"""\
# {nightly.spec.name}: add with `crontab -e`. CRON_TZ is understood by cronie; other crons use the machine's time zone.
CRON_TZ={nightly.timezone}
{nightly.cron} {line}
"""


def _systemd_word(word: str) -> str:
    """One argument of ExecStart as it is: systemd would expand `%` and `$` inside quotes too."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(character, written)
    return f'"{word}"'
