"""Every night by itself: manifests for Kubernetes, lines for one machine, or what another package's scheduler reads.

Whatever fires, the output's lease lets one run write at a time, and a run does only what is missing: nights that
overlap end with LeaseHeldError's exit code, nights that were missed are made up for by the next one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy.manifests import cron
from tlg.errors import SpecError
from tlg.registry import Registry
from tlg.spec import AnnotateSpec

# The scheduler in the foreground (foreground.py), which is given nothing to read.
LOCAL = "local"


@dataclass(frozen=True)
class Nightly:
    """A job on a schedule: `command` is what one night runs on this machine, `cron` is five valid fields."""

    spec: AnnotateSpec
    command: Sequence[str]
    cron: str
    timezone: str


class Scheduler(Protocol):
    """An entry point of the group `tlg.schedulers` names one; the entry point's name is the target's."""

    def __call__(self, nightly: Nightly) -> str:
        """What the scheduler is given to read. Raises SpecError where the schedule cannot be said there."""
        ...


SCHEDULERS: Registry[Scheduler] = Registry(
    "target",
    "tlg.schedulers",
    {
        "cronjob": "deploy.manifests.cluster_nights:cronjob",
        "raycronjob": "deploy.manifests.cluster_nights:raycronjob",
        "systemd": "deploy.manifests.machine_nights:systemd",
        "crontab": "deploy.manifests.machine_nights:crontab",
    },
    SpecError,
    f"`{LOCAL}` runs here until Ctrl-C",
)


def command(spec_path: str, address: str | None, assignments: Sequence[str] = ()) -> list[str]:
    """What one night runs here: the job itself, or its submission to a cluster."""
    tlg = [sys.executable, "-m", "tlg"]
    path = os.path.abspath(spec_path) if "://" not in spec_path else spec_path
    changed = [word for assignment in assignments for word in ("--set", assignment)]
    if address is None:
        return [*tlg, "annotate", path, *changed]
    return [*tlg, "submit", path, *changed, "--address", address, "--again", "--wait"]


def entries(nightly: Nightly, target: str) -> str:
    """What the scheduler `target` is given: manifests, systemd units, crontab lines."""
    cron.check(nightly.cron, nightly.timezone)
    return SCHEDULERS.load(target)(nightly)
