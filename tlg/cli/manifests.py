"""Manifests of a job, and its nights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlg.cli.options import Overrides, Timezone


def render(
    spec: str,
    target: Annotated[str, typer.Option(help="rayjob, raycluster, rayservice, cronjob, raycronjob or compose")],
    overrides: Overrides = [],  # noqa: B006
    cron: Annotated[str | None, typer.Option(help='Schedule of cronjob and raycronjob: "0 2 * * *"')] = None,
    timezone: Timezone = "Etc/UTC",
    kustomize: Annotated[
        Path | None, typer.Option(help="Write a Kustomize base into this new folder, and print its files")
    ] = None,
) -> None:
    """Print ready manifests of a job spec."""
    from deploy.manifests import kubernetes
    from tlg.spec import load_annotate_spec

    loaded = load_annotate_spec(spec, overrides)
    if kustomize is None:
        typer.echo(kubernetes.render(loaded, target, cron, timezone), nl=False)
        return
    from deploy.manifests import kustomize as base

    for file in base.write(kubernetes.documents(loaded, target, cron, timezone), loaded.deploy.image, kustomize):
        typer.echo(file)


def schedule(
    spec: str,
    cron: Annotated[str, typer.Option(help='Five fields: "0 2 * * *" is every night at two')],
    target: Annotated[str, typer.Option(help="cronjob, raycronjob, systemd, crontab, a package's, or local")],
    overrides: Overrides = [],  # noqa: B006
    timezone: Timezone = "Etc/UTC",
    address: Annotated[str | None, typer.Option(help="Submit to this cluster instead of running here")] = None,
) -> None:
    """Run a job every night. Prints what a scheduler needs, or is a small scheduler (`local`)."""
    from deploy.manifests import foreground
    from deploy.manifests import schedule as nightly
    from tlg.spec import load_annotate_spec

    loaded = load_annotate_spec(spec, overrides)
    night = nightly.command(spec, address, overrides)
    if target == nightly.LOCAL:
        foreground.run_local(night, cron, timezone, show=typer.echo)
    else:
        typer.echo(nightly.entries(nightly.Nightly(loaded, night, cron, timezone), target), nl=False)
