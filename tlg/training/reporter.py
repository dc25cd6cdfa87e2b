"""What a training run shows and writes down: a progress bar, metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tlg.training.spec import TrainSpec


class Reporter:
    """Silent on all processes but the first."""

    def __init__(self, spec: TrainSpec, step: int, total: int, shown: bool) -> None:
        self.spec, self.shown = spec, shown
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  mIoU {task.fields[miou]:.1f}"),
            TimeRemainingColumn(),
            disable=not shown,
        )
        self.task = self.bar.add_task(spec.name, total=total, completed=step, loss=float("nan"), miou=0.0)

    def __enter__(self) -> Reporter:
        if self.shown:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.spec.out / "tensorboard"))
            self.rows = (self.spec.out / "metrics.jsonl").open("a")
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if self.shown:
            self.board.close()
            self.rows.close()

    def advance(self, step: int, loss: float, miou: float) -> None:
        self.bar.update(self.task, completed=step, loss=loss, miou=100 * miou)
        if self.shown:
            self.board.add_scalar("loss", loss, step)

    def epoch(self, row: dict[str, float]) -> None:
        """One line per epoch: rounded figures, fit to be compared between runs."""
        self.rows.write(json.dumps({key: round(value, 6) for key, value in row.items()}) + "\n")
        self.rows.flush()
        for name in ("miou", "held_out_miou"):
            if name in row:
                self.board.add_scalar(name, row[name], row["step"])
        held_out = f", held-out mIoU {100 * row['held_out_miou']:.1f}" if "held_out_miou" in row else ""
        self.bar.print(f"epoch {row['epoch']}: loss {row['loss']:.3f}, mIoU {100 * row['miou']:.1f}{held_out}")
