"""This machine: whether it is ready, a first try, an endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlg.cli.options import Overrides


def doctor(
    spec: Annotated[str | None, typer.Argument(help="Also check the stores and exemplars of this job")] = None,
    address: Annotated[str | None, typer.Option(help="Also check the cluster at this address")] = None,
) -> None:
    """Check this machine. Says what to do about what is missing."""
    from jobs.commands import doctor as examination

    is_well = True
    for finding in examination.examine(spec, address):
        is_well = is_well and finding.ok
        mark, colour = ("ok  ", typer.colors.GREEN) if finding.ok else ("FAIL", typer.colors.RED)
        typer.secho(mark, fg=colour, nl=False)
        typer.echo(f" {finding.subject}: {finding.detail}")
        if finding.advice:
            typer.echo(f"       {finding.advice}")
    raise typer.Exit(0 if is_well else 1)


def serve(
    config: Annotated[str | None, typer.Argument(help="Configuration, like configs/serve/local.yaml")] = None,
    overrides: Overrides = [],  # noqa: B006
    host: Annotated[str | None, typer.Option(help="Other addresses than loopback need API keys")] = None,
    port: Annotated[int | None, typer.Option()] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve other machines without API keys")] = False,
    address: Annotated[str, typer.Option(help="Ray cluster to serve on; `local` starts one here")] = "local",
) -> None:
    """Annotate on demand, until Ctrl-C. Serves a page, an API and labelling tools' backends."""
    from deploy.endpoint import config as configuration
    from deploy.endpoint import serving

    given = {"host": host, "port": port, "insecure": insecure or None}
    assignments = [*overrides, *(f"{key}={value}" for key, value in given.items() if value is not None)]
    serving.run(configuration.load_config(config, assignments), address)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demo's files")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed gives other pictures and classes")] = 7,
) -> None:
    """Try the main job on a small collection. The answers are measured and reported."""
    from jobs.commands.demo import demo as run_demo

    run_demo(out, seed)
