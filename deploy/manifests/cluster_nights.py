"""Manifests of a job that a cluster runs every night. They hold the spec and run it there. See `schedule.Scheduler`."""

from __future__ import annotations

from deploy.manifests import kubernetes
from deploy.manifests.schedule import Nightly
from tlg.errors import SpecError


def cronjob(nightly: Nightly) -> str:
    return _manifests(nightly, "cronjob")


def raycronjob(nightly: Nightly) -> str:
    return _manifests(nightly, "raycronjob")


def _manifests(nightly: Nightly, target: str) -> str:
    if "--address" in nightly.command:
        raise SpecError(f"target {target} brings its own cluster; --address is for systemd, crontab and local")
    return kubernetes.render(nightly.spec, target, nightly.cron, nightly.timezone)
