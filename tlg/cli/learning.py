"""Networks are trained and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlg.cli.options import Overrides


def train(
    config: Annotated[str, typer.Argument(help="Training config, like configs/train/pascal-resnet50.yaml")],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Train a network on episodes. Started again, it goes on where it was."""
    from tlg.allocation import keep_freed_memory
    from tlg.training.trainer import train as run_training

    keep_freed_memory()
    for folder in run_training(config, overrides):
        typer.echo(f"best model: {folder}")


def evaluate(
    config: Annotated[str, typer.Argument(help="Evaluation config, like configs/evaluate/pascal-resnet50.yaml")],
    dump: Annotated[Path | None, typer.Option(help="Folder for one PNG per episode")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Measure a network on episodes. Prints mean intersection over union (mIoU) per class and fold, and FB-IoU."""
    from tlg.allocation import keep_freed_memory
    from tlg.evaluation.evaluate import evaluate as run_evaluation

    keep_freed_memory()
    run_evaluation(config, dump, overrides)
