"""What several commands have in common."""

from __future__ import annotations

from typing import Annotated

import typer

Address = Annotated[
    str,
    typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The head's dashboard, like http://head:8265"),
]
Overrides = Annotated[list[str], typer.Option("--set", help="Change a key of the spec: run.min_score=0.6")]
Endpoint = Annotated[str | None, typer.Option(help="S3 endpoint, where it is not the provider's own")]
Timezone = Annotated[str, typer.Option(help="Time zone of the schedule")]


def group(help: str) -> typer.Typer:
    """A command that has commands; plain help, since importing rich takes three times as long as everything else."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None)
