"""What a model sees in exemplars and names, before a job is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlg.cli.options import Endpoint, Overrides, group

app = group("Look at an exemplar set, or add to it.")


@app.command("check")
def check(
    exemplars: Annotated[str, typer.Argument(metavar="SET", help="Exemplar set: file or folder")],
    model: Annotated[str | None, typer.Option(help="By which model, tlg-photo if left out")] = None,
) -> None:
    """Answer each exemplar by the others of its class, and name those that seem to hurt."""
    from tlg.evaluation import check_command

    for line in check_command.check(exemplars, model):
        typer.echo(line)


@app.command("add")
def add(
    exemplars: Annotated[str, typer.Argument(metavar="SET", help="Exemplar set: file or folder")],
    from_review: Annotated[str, typer.Option(help="Output whose answers people corrected")],
    endpoint: Endpoint = None,
) -> None:
    """Add what a review corrected: mended masks as exemplars, what is not there as negatives."""
    from jobs.commands import exemplars as adding
    from tlg.store import Access, join

    for line in adding.add(join(".", exemplars), join(".", from_review), Access(endpoint)):
        typer.echo(line)


def prior(
    out: Annotated[Path, typer.Option(help="Folder for what is written; {fold} and {collection} of a training set")],
    pictures: Annotated[list[str] | None, typer.Argument(metavar="IMAGE...", help="Pictures to look at")] = None,
    exemplars: Annotated[str | None, typer.Option(help="Exemplar set: file or folder")] = None,
    model: Annotated[str | None, typer.Option(help="Whose prior, tlg-photo if left out")] = None,
    clip: Annotated[str | None, typer.Option(help="Text of this open_clip model instead of the model's own")] = None,
    clip_weights: Annotated[str | None, typer.Option(help="Its weights: a file, or a tag of open_clip")] = None,
    family: Annotated[str | None, typer.Option(help="Its maps: activation or dense")] = None,
    clip_config: Annotated[str | None, typer.Option(help="All its settings: configs/prior/clip.yaml")] = None,
    dataset: Annotated[str | None, typer.Option(help="Training config whose photographs get pseudo-masks")] = None,
    layout: Annotated[str | None, typer.Option(help="Of pseudo-masks: per_class (default) or per_image")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Draw where each class seems to be. Maps and overlays of pictures, or a training set's pseudo-masks."""
    from tlg.evaluation import prior_command as command

    text = {"architecture": clip, "weights": clip_weights, "family": family}
    if dataset is None:
        command.refuse({"--layout": layout}, "goes with --dataset alone")
        lines = command.look(pictures, exemplars, out, model, clip_config, text, overrides)
    else:
        of_pictures: dict[str, object] = {
            "IMAGE": pictures,
            "--exemplars": exemplars,
            "--model": model,
            "--clip-config": clip_config,
        }
        of_pictures |= {"--clip": clip, "--clip-weights": clip_weights, "--family": family}
        command.refuse(of_pictures, "does not go with --dataset")
        lines = command.of_dataset(dataset, overrides, out, layout)
    for line in lines:
        typer.echo(line)
