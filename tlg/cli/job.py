"""A job: what it is, whether it can run, how long it takes, how far it is."""

from __future__ import annotations

from typing import Annotated

import typer

from tlg.cli.options import Endpoint, Overrides


def schema() -> None:
    """Print the JSON schema of the job spec."""
    import json

    from tlg.spec import AnnotateSpec

    typer.echo(json.dumps(AnnotateSpec.model_json_schema(), indent=2))


def annotate(
    spec: Annotated[str | None, typer.Argument(help="The job as a YAML or JSON file")] = None,
    overrides: Overrides = [],  # noqa: B006
    images: Annotated[str | None, typer.Option(help="Without a spec: folder or prefix of the images")] = None,
    exemplars: Annotated[str | None, typer.Option(help="Without a spec: the exemplar set")] = None,
    classes: Annotated[str | None, typer.Option(help="Without exemplars: names that commas part")] = None,
    out: Annotated[str | None, typer.Option(help="Without a spec: where the answers go")] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray: ray://host:10001 or auto")] = None,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Try the quarantined images again")] = False,
    force: Annotated[bool, typer.Option("--force", help="Answer everything again")] = False,
) -> None:
    """Annotate a collection. Run again, it does only what is missing."""
    from jobs.commands import annotate

    loaded = annotate.read_spec(spec, images, exemplars, classes, out, overrides)
    annotate.run_annotate(loaded, address, only_failed, force, by_hand=spec is None)


def validate(spec: str, overrides: Overrides = []) -> None:  # noqa: B006
    """Check a job without running it. Keys, exemplars, model and the access to the stores are looked at."""
    from jobs.commands import validate as check
    from tlg.spec import load_annotate_spec

    for passed in check.validate(load_annotate_spec(spec, overrides)):
        typer.echo(f"ok  {passed}")


def plan(
    spec: str,
    overrides: Overrides = [],  # noqa: B006
    deadline_hours: Annotated[
        float | None, typer.Option(help="Another than the spec's deploy.deadline_seconds")
    ] = None,
) -> None:
    """Tell images, hours, workers and cost. A small sample is timed."""
    from jobs.commands import plan as planning
    from tlg.spec import load_annotate_spec

    loaded = load_annotate_spec(spec, overrides)
    deadline = loaded.deploy.deadline_seconds if deadline_hours is None else deadline_hours * 3600
    for line in planning.plan(loaded).lines(deadline):
        typer.echo(line)


def status(
    output: str,
    metrics: Annotated[bool, typer.Option("--metrics", help="Print the latest run for Prometheus")] = False,
    endpoint: Endpoint = None,
) -> None:
    """Tell how far the runs of an output are. Failures are counted by type."""
    from jobs.commands import run_metrics
    from jobs.commands import status as overview
    from tlg.store import Access, join

    if metrics:
        typer.echo(run_metrics.metrics(join(".", output), Access(endpoint)), nl=False)
        return
    for line in overview.status(join(".", output), Access(endpoint)):
        typer.echo(line)
