"""What `tlg annotate` does once its arguments are read."""

from __future__ import annotations

import typer

from jobs.annotate import annotate
from jobs.entry import finished
from jobs.entry import read_spec as read_spec
from tlg.spec import AnnotateSpec


def run_annotate(spec: AnnotateSpec, address: str | None, only_failed: bool, force: bool) -> None:
    """Run and print the end; leaves with 130 when interrupted, with the error's own code when it failed."""
    raise typer.Exit(finished(spec, lambda: annotate(spec, address, only_failed, force)))
