"""The front door: one command each, every command's module imported when that command runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tlg.cli import answers, cluster, evidence, job, learning, machine, manifests, models
from tlg.errors import TlgError

app = typer.Typer(
    name="tlg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("tlg"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave")
    ] = False,
) -> None:
    """A handful of image-labelled exemplars in, pixel masks for a whole collection out."""


# In the order of `tlg --help`.
for command in (
    *(job.schema, job.annotate, job.validate, job.plan, job.status),
    *(answers.export, answers.score, answers.review, answers.suggest, answers.diff),
    *(answers.push, answers.prune),
    *(cluster.submit, manifests.render, manifests.schedule),
    *(machine.doctor, machine.serve, machine.demo),
    *(evidence.prior, learning.train, learning.evaluate, models.import_checkpoint),
):
    app.command()(command)

app.add_typer(cluster.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(evidence.app, name="exemplars")


def main() -> None:
    try:
        app()
    except TlgError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
