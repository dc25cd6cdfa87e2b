"""What is done with an output's answers."""

from __future__ import annotations

from typing import Annotated

import typer

from tlg.cli.options import Endpoint


def export(
    output: str,
    to: Annotated[str, typer.Option(help="Folder or prefix to write to")],
    format: Annotated[str, typer.Option(help="One of output.formats, see docs/exports.md")] = "coco",
    masks: Annotated[str, typer.Option(help="COCO masks as rle or polygon")] = "rle",
    min_score: Annotated[float, typer.Option(help="Leave out masks with a lower score")] = 0.0,
    classes: Annotated[list[str], typer.Option("--class", help="Only this class; may be repeated")] = [],  # noqa: B006
    listed_only: Annotated[
        bool, typer.Option("--listed-only", help="Leave out images that left the collection")
    ] = False,
    endpoint: Endpoint = None,
) -> None:
    """Write answers in another format. All of an output's committed answers are taken, or a part of them."""
    from jobs.output import exports
    from tlg.store import Access, join

    chosen = exports.Filter(min_score, tuple(classes))
    access = Access(endpoint)
    exported = exports.export(
        join(".", output), format, join(".", to), access, chosen, exports.as_masks(masks), listed_only
    )
    for uri in exported.uris:
        typer.echo(uri)
    if exported.remark:
        typer.echo(exported.remark, err=True)


def score(
    output: str,
    truth: Annotated[str, typer.Option(help="COCO file, or folder of label maps or of masks by class")],
    precision: Annotated[float, typer.Option(help="Wished share of right masks, for the suggested min_score")] = 0.9,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON")] = False,
    endpoint: Endpoint = None,
) -> None:
    """Measure answers against known masks. A min_score for a wished precision is suggested."""
    import json

    from jobs.commands import score as scoring
    from tlg.store import Access, join

    figures, lines = scoring.score(join(".", output), join(".", truth), precision, Access(endpoint))
    for line in [json.dumps(figures, indent=1)] if as_json else lines:
        typer.echo(line)


def prune(
    output: str,
    remove: Annotated[bool, typer.Option("--remove", help="Remove them; without it they are only counted")] = False,
    endpoint: Endpoint = None,
) -> None:
    """Remove answers of images that are gone. Without --remove they are only counted."""
    from jobs.commands import prune as pruning
    from tlg.store import Access, join

    for line in pruning.prune(join(".", output), remove, Access(endpoint)):
        typer.echo(line)


def push(
    output: str,
    to: Annotated[
        str | None,
        typer.Option(
            help="label-studio+http://HOST/projects/7 or cvat+http://HOST/tasks/7; left out, the answered collection"
        ),
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out masks with a lower score")] = 0.0,
    endpoint: Endpoint = None,
) -> None:
    """Push answers to Label Studio or CVAT. Run again, it pushes only what is missing."""
    from deploy.connectors import push as pushing
    from tlg.store import Access, join

    for line in pushing.push(join(".", output), to, Access(endpoint), min_score):
        typer.echo(line)


def review(
    output: str,
    pictures: Annotated[int, typer.Option(help="How many pictures are drawn")] = 60,
    figures: Annotated[bool, typer.Option("--figures", help="Only tell what follows from the verdicts so far")] = False,
    hand_out: Annotated[str | None, typer.Option(help="Write the sample for labelling tools to this folder")] = None,
    take: Annotated[
        str | None, typer.Option(help="Take verdicts from a tool's export: Label Studio JSON, COCO")
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Whose verdicts --take takes")] = "somebody",
    host: Annotated[str, typer.Option(help="Other addresses than loopback need the key that is printed")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8010,
    endpoint: Endpoint = None,
) -> None:
    """Judge a sample on a page. Precision and missed rate of all answers follow."""
    from jobs.commands import review as reviewing
    from tlg.store import Access, join

    place, access = join(".", output), Access(endpoint)
    if hand_out is not None:
        lines = reviewing.hand_out(place, pictures, join(".", hand_out), access)
    elif take is not None:
        lines = reviewing.take(place, pictures, join(".", take), reviewer, access)
    else:
        if not figures:
            from deploy.review import serving

            serving.run(place, pictures, host, port, access, typer.echo)
        lines = reviewing.told(place, access)
    for line in lines:
        typer.echo(line)


def diff(
    before: Annotated[str, typer.Argument(metavar="RUN", help="Output of one run")],
    after: Annotated[str, typer.Argument(metavar="RUN", help="Output of another over the same collection")],
    endpoint: Endpoint = None,
) -> None:
    """Tell what changed between two outputs. Masks are compared, and which classes appeared or vanished."""
    from jobs.commands import diff as comparing
    from tlg.store import Access, join

    for line in comparing.diff(join(".", before), join(".", after), Access(endpoint)):
        typer.echo(line)


def suggest(output: str, endpoint: Endpoint = None) -> None:
    """Name the six pictures whose labelling would help most. The reason stands beside each."""
    from jobs.commands import suggest as suggesting
    from tlg.store import Access, join

    for line in suggesting.suggest(join(".", output), Access(endpoint)):
        typer.echo(line)
