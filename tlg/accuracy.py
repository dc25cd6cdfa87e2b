"""The comparison of docs/accuracy.md: every row trained and evaluated over folds and seeds, one table at the end.

    python -m tlg.accuracy configs/accuracy/rows.yaml [ROW ...]

Rows that are done are kept (their reports lie in `out`), so a stopped comparison goes on where it was.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from rich.console import Console

from tlg import storage
from tlg.evaluate import evaluate
from tlg.spec import Document, parse, read_text
from tlg.train import train


class Row(Document):
    """One line of the table. Without `train` it uses the models of the row named in `model_of`, or none."""

    name: str
    needs: str = Field(description="What supervision the supports carry")
    train: list[str] | None = Field(None, description="Overrides of the training config; None: nothing is trained")
    model_of: str | None = None
    evaluate: list[str] = Field([], description="Overrides of the evaluation config")
    seeds: list[int] = Field([0], min_length=1)


class Comparison(Document):
    train: str = Field(description="Training config")
    evaluate: str = Field(description="Evaluation config")
    out: Path
    rows: list[Row]


def compare(config: str, only: Sequence[str] = ()) -> str:
    """Runs what is not done yet; returns the table as Markdown (also `out/table.md`)."""
    comparison = parse(Comparison, read_text(storage.read_text(config), config), config)
    for row in comparison.rows:
        if not only or row.name in only:
            for seed in row.seeds:
                run(comparison, row, seed)
    table = markdown(comparison)
    storage.write(str(comparison.out / "table.md"), table.encode())
    return table


def run(comparison: Comparison, row: Row, seed: int) -> None:
    report = report_file(comparison, row, seed)
    if report.exists():
        return
    models = comparison.out / slug(row.model_of or row.name) / f"seed{seed}" / "fold{fold}"
    if row.train is not None:
        train(comparison.train, [f"out={models}", f"seed={seed}", "data.fold=all", *row.train])
    evaluate(
        comparison.evaluate,
        dump=report.with_suffix("") / "answers",
        overrides=[f"model={models / 'last'}", f"out={report}", *row.evaluate],
    )


def report_file(comparison: Comparison, row: Row, seed: int) -> Path:
    return comparison.out / f"{slug(row.name)}-seed{seed}.json"


def markdown(comparison: Comparison) -> str:
    lines = ["| answer | needs | 1-shot | 5-shot |", "|---|---|---|---|"]
    for row in comparison.rows:
        files = [report_file(comparison, row, seed) for seed in row.seeds]
        reports = [json.loads(file.read_text()) for file in files if file.exists()]
        cells = [figure([one["shots"][shots]["mean_mIoU"] for one in reports]) for shots in ("1", "5")]
        lines.append(f"| {row.name} | {row.needs} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def figure(values: list[float]) -> str:
    if not values:
        return "not measured"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")


if __name__ == "__main__":
    Console().print(compare(sys.argv[1], sys.argv[2:]), highlight=False)
