"""Model folders: which there are, and how they are fetched, packed and imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlg.cli.options import Overrides

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def table(context: typer.Context) -> None:
    """List the models that can be named in a spec.

    A line names backbone, size and licence, and says whether the weights are here or to be fetched.
    """
    from tlg.hub import command

    if context.invoked_subcommand is None:
        for line in command.table():
            typer.echo(line)


@app.command("card")
def card(name: str) -> None:
    """Everything known about a model: weights, digests, licences, figures."""
    from tlg.hub import command

    for line in command.card(name):
        typer.echo(line)


@app.command("fetch")
def fetch(
    name: str,
    to: Annotated[Path | None, typer.Option(help="Folder that receives the whole model, for another machine")] = None,
) -> None:
    """Fetch a model's weights; prints the SHA-256 of every file, as `sha256sum --check` reads it."""
    from tlg.hub import command

    for line in command.fetch(name, to):
        typer.echo(line)


@app.command("pack")
def pack(
    model: Annotated[str, typer.Argument(help="Model folder, or a model's name")],
    file: Annotated[Path, typer.Argument(help="The file to write")],
) -> None:
    """Make one file of a model folder."""
    from tlg.hub import command

    for name in command.pack(model, file):
        typer.echo(name)


@app.command("unpack")
def unpack(
    file: Annotated[Path, typer.Argument(help="A file of `tlg models pack`")],
    folder: Annotated[Path, typer.Argument(help="The model folder to make")],
) -> None:
    """Make a model folder out of such a file; every digest is verified."""
    from tlg.hub.packing import unpack

    typer.echo(f"{folder}: {unpack(file, folder).name}")


@app.command("add-clip")
def add_clip(
    model: Annotated[str, typer.Argument(help="Model folder, or a model's name")],
    folder: Annotated[Path, typer.Argument(help="The model folder to make")],
    clip: Annotated[str | None, typer.Option(help="An open_clip model, ViT-B-16 if left out")] = None,
    clip_weights: Annotated[str | None, typer.Option(help="A file, hf://org/repo/file, or a tag of open_clip")] = None,
    clip_config: Annotated[str | None, typer.Option(help="All its settings: configs/prior/clip.yaml")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Make a model folder whose names an open_clip model knows; prints the SHA-256 of every file."""
    from tlg.hub import command

    given = {"architecture": clip, "weights": clip_weights}
    for line in command.add_clip(model, folder, clip_config, given, overrides):
        typer.echo(line)


@app.command("licences")
def licences() -> None:
    """The licence of every package that is depended on and of every file of weights."""
    from tlg.hub import command

    for line in command.licences():
        typer.echo(line)


def import_checkpoint(
    checkpoint: Annotated[str, typer.Argument(help="A published best_model.pt")],
    backbone: Annotated[str, typer.Option(help="resnet50 or vgg16")],
    out: Annotated[Path, typer.Option(help="Folder of the new model")],
) -> None:
    """Import a published checkpoint. Nothing inside the file is run."""
    from tlg.errors import SpecError
    from tlg.hub.folder import import_checkpoint as run_import

    if backbone not in ("resnet50", "vgg16"):
        raise SpecError(f"--backbone {backbone}: published checkpoints have resnet50 or vgg16")
    written = run_import(checkpoint, backbone, out)
    typer.echo(f"{out}: {written.name}, {len(written.files)} files")
