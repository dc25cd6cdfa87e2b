"""What `tlg annotate`, `validate`, `plan`, `status` and `export` do once their arguments are read."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from jobs.annotate import annotate
from jobs.output.runs import RunSummary, duration
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec, load_annotate_spec, short_spec

INTERRUPTED = 130


def read_spec(
    spec: str | None, images: str | None, exemplars: str | None, out: str | None, overrides: list[str]
) -> AnnotateSpec:
    """The spec file, or one made of the three folders that a job needs at least."""
    if spec is not None:
        if images or exemplars or out:
            raise SpecError("give a spec file, or --images, --exemplars and --out; not both")
        return load_annotate_spec(spec, overrides)
    if not (images and exemplars and out):
        raise SpecError("give a spec file, or all of --images, --exemplars and --out")
    return short_spec(images, exemplars, out, overrides)


def run_annotate(spec: AnnotateSpec, address: str | None, only_failed: bool, force: bool) -> None:
    """Run and print the end; leaves with 130 when interrupted, with the error's own code when it failed."""
    with _terminated_like_interrupted():
        try:
            summary = annotate(spec, address, only_failed, force)
        except KeyboardInterrupt:
            typer.echo("stopped; what is committed stays, run again to go on", err=True)
            raise typer.Exit(INTERRUPTED) from None
    typer.echo(ending(summary))


def ending(summary: RunSummary) -> str:
    if not summary.images:
        return f"nothing to do: all {summary.listed:,} images are answered ({summary.seconds:.1f} s)"
    rate = summary.done / max(summary.seconds, 1e-9)
    counts = f"{summary.masks:,} masks, {summary.absent:,} absent, {summary.errors:,} errors"
    return f"{summary.done:,} images in {duration(summary.seconds)} ({rate:,.1f}/s): {counts} -> {summary.output}"


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Clusters stop a job with SIGTERM: what has arrived is committed and the lease given back, as with Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> None:
    """`python -m jobs.annotate SPEC.yaml [...]` is `tlg annotate SPEC.yaml [...]`."""
    from tlg import cli

    sys.argv.insert(1, "annotate")
    cli.main()
