"""What `tlg annotate` does once its arguments are read."""

from __future__ import annotations

import typer

from jobs.annotate import annotate
from jobs.commands.validate import check_inputs
from jobs.entry import finished
from jobs.entry import read_spec as read_spec
from jobs.output.runs import RunSummary
from tlg.spec import AnnotateSpec


def run_annotate(spec: AnnotateSpec, address: str | None, only_failed: bool, force: bool, by_hand: bool) -> None:
    """Run and print the end; leaves with 130 when interrupted, with the error's own code when it failed.

    `by_hand`: the places were typed just now, so a wrong one leaves nothing behind.
    """

    def run() -> RunSummary:
        if by_hand:
            check_inputs(spec)
        return annotate(spec, address, only_failed, force)

    raise typer.Exit(finished(spec, run))
