"""Jobs on a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from tlg.cli.options import Address, Overrides, group


def submit(
    spec: str,
    address: Address,
    overrides: Overrides = [],  # noqa: B006
    again: Annotated[bool, typer.Option("--again", help="Run even if the last attempt succeeded")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show the log, leave with the job's exit code")] = False,
) -> None:
    """Hand a job to a Ray cluster. The same spec is the same job and never runs twice at once."""
    from jobs.cluster import submit as submission
    from tlg.spec import load_annotate_spec

    loaded = load_annotate_spec(spec, overrides)
    job = submission.submit(loaded, address, again)
    if not job.created and job.status == "SUCCEEDED":
        typer.echo(f"{job.id}: already succeeded, nothing is run; --again runs it once more")
        return
    typer.echo(f"{job.id}: {'submitted' if job.created else f'already {job.status.lower()}, attached'}")
    typer.echo(f"Ray's dashboard shows it: {submission.dashboard(job.id, address)}")
    if wait:
        ended = submission.follow(job.id, address, loaded.deploy.deadline_seconds, typer.echo)
        typer.echo(f"{ended.id}: {ended.status.lower()}")
        raise typer.Exit(submission.exit_code(ended))


app = group("The jobs that a cluster's head remembers.")


@app.command("list")
def list_jobs(address: Address) -> None:
    """Every submitted job, oldest first."""
    from jobs.cluster import submit as submission

    for job in submission.jobs(address):
        typer.echo(f"{job.id}  {job.status.lower()}")


@app.command("logs")
def logs(
    job: str,
    address: Address,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends")] = False,
) -> None:
    """What a job printed."""
    from jobs.cluster import submit as submission

    if follow:
        raise typer.Exit(submission.exit_code(submission.follow(job, address, show=typer.echo)))
    typer.echo(submission.logs(job, address), nl=False)


@app.command("stop")
def stop(job: str, address: Address) -> None:
    """Stop a job; what it committed stays, submitting it again goes on from there."""
    from jobs.cluster import submit as submission

    typer.echo(f"{job}: {'asked to stop' if submission.stop(job, address) else 'was not running'}")
