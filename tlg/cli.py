"""The front door: one command each, every command's module imported when that command runs."""

from __future__ import annotations

import sys

import typer

from tlg.errors import TlgError

app = typer.Typer(
    name="tlg",
    help="A handful of image-labelled exemplars in, pixel masks for a whole collection out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def schema() -> None:
    """Print the JSON schema of the job spec."""
    import json

    from tlg.spec import AnnotateSpec

    typer.echo(json.dumps(AnnotateSpec.model_json_schema(), indent=2))


def main() -> None:
    try:
        app()
    except TlgError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
