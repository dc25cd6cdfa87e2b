"""The comparison of docs/accuracy.md: every row trained and evaluated over folds and seeds, one table at the end.

    python -m tlg.accuracy configs/accuracy/rows.yaml [ROW ...]

Rows that are done are kept (their reports lie in `out`), so a stopped comparison goes on where it was. On a CPU every
core trains, or evaluates, one model; what each of them says goes to `out/logs`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import torch
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlg import storage
from tlg.evaluate import evaluate
from tlg.spec import Document, parse, read_text
from tlg.train import load_spec, train


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


def compare(config: str, only: Sequence[str] = (), workers: int | None = None) -> str:
    """Runs what is not done yet; returns the table as Markdown (also `out/table.md`)."""
    comparison = parse(Comparison, read_text(storage.read_text(config), config), config)
    asked = [
        (row, seed)
        for row in comparison.rows
        if not only or row.name in only
        for seed in row.seeds
        if not report_file(comparison, row, seed).exists()
    ]
    folds = load_spec(comparison.train).data.benchmark.folds() if any(row.train is not None for row, _ in asked) else []
    workers = workers or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    trainings = {
        f"{slug(row.name)}-seed{seed}-fold{fold}": partial(train_one, comparison, row, seed, fold)
        for row, seed in asked
        if row.train is not None
        for fold in folds
    }
    run_all("trainings", trainings, comparison.out / "logs", workers)
    evaluations = {f"{slug(row.name)}-seed{seed}": partial(evaluate_one, comparison, row, seed) for row, seed in asked}
    run_all("evaluations", evaluations, comparison.out / "logs", workers)
    table = markdown(comparison)
    storage.write(str(comparison.out / "table.md"), table.encode())
    return table


def run_all(what: str, tasks: Mapping[str, Callable[[], None]], logs: Path, workers: int) -> None:
    """All of them, as many at once as there are workers; the first failure ends the comparison, naming its log."""
    logs.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        shown = bar.add_task(what, total=len(tasks))
        if workers == 1:
            for name, task in tasks.items():
                logged(task, logs / f"{name}.log")
                bar.advance(shown)
            return
        # One thread each: small networks gain more from a second model than from a second core.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
            running = {pool.submit(logged, task, logs / f"{name}.log"): name for name, task in tasks.items()}
            for done in as_completed(running):
                if done.exception() is not None:
                    pool.shutdown(cancel_futures=True)
                    raise RuntimeError(f"{running[done]} failed; see {logs / running[done]}.log") from done.exception()
                bar.advance(shown)


def logged(task: Callable[[], None], log: Path) -> None:
    with log.open("w") as file, redirect_stdout(file):
        task()


def train_one(comparison: Comparison, row: Row, seed: int, fold: str) -> None:
    out = models_of(comparison, row, seed)
    train(comparison.train, [f"out={out}", f"seed={seed}", f"data.fold={fold}", *(row.train or [])])


def evaluate_one(comparison: Comparison, row: Row, seed: int) -> None:
    report = report_file(comparison, row, seed)
    evaluate(
        comparison.evaluate,
        dump=report.with_suffix("") / "answers",
        overrides=[f"model={models_of(comparison, row, seed) / 'last'}", f"out={report}", *row.evaluate],
    )


def models_of(comparison: Comparison, row: Row, seed: int) -> Path:
    return comparison.out / slug(row.model_of or row.name) / f"seed{seed}" / "fold{fold}"


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
