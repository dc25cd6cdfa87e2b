"""The comparison of docs/accuracy.md: every row trained and evaluated over folds and seeds, one table at the end.

    python -m tlg.evaluation.comparison configs/accuracy/rows.yaml [ROW ...]

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
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlg import store
from tlg.documents import Document, parse, read_text
from tlg.evaluation.evaluate import evaluate
from tlg.training.trainer import load_spec, train

SHOTS = ("1", "5")


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


@dataclass(frozen=True)
class Task:
    """One model trained, or one report written, once the tasks named in `after` are done."""

    call: Callable[[], None]
    after: frozenset[str] = frozenset()


def compare(config: str, only: Sequence[str] = (), workers: int | None = None) -> str:
    """Runs what is not done yet; returns means and classes as Markdown tables (also `out/table.md`)."""
    comparison = parse(Comparison, read_text(store.read_text(config), config), config)
    workers = workers or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    run_all(missing(comparison, only), comparison.out / "logs", workers)
    table = f"{means_table(comparison)}\n{classes_table(comparison)}"
    store.write(str(comparison.out / "table.md"), table.encode())
    return table


def missing(comparison: Comparison, only: Sequence[str]) -> dict[str, Task]:
    """What has to be run, by name: every row with its first seed, then with its second, and so on."""
    runs = [(row, seed) for row in comparison.rows if not only or row.name in only for seed in row.seeds]
    runs = [(row, seed) for row, seed in runs if not report_file(comparison, row, seed).exists()]
    folds = load_spec(comparison.train).data.benchmark.folds() if any(row.train is not None for row, _ in runs) else []
    tasks: dict[str, Task] = {}
    for row, seed in sorted(runs, key=lambda run: run[1]):
        if row.train is not None:
            tasks |= {
                training(row.name, seed, fold): Task(partial(train_one, comparison, row, seed, fold)) for fold in folds
            }
        needed = frozenset(training(row.model_of or row.name, seed, fold) for fold in folds)
        tasks[f"{slug(row.name)}-seed{seed}"] = Task(partial(evaluate_one, comparison, row, seed), needed)
    return tasks


def training(row: str, seed: int, fold: str) -> str:
    return f"{slug(row)}-seed{seed}-fold{fold}"


def run_all(tasks: Mapping[str, Task], logs: Path, workers: int) -> None:
    """All of them, as many at once as there are workers; the first failure ends the comparison, naming its log."""
    logs.mkdir(parents=True, exist_ok=True)
    waiting = dict(tasks)
    running: dict[Future[None], str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Bound to the screen here: what the tasks print goes elsewhere.
    console = Console(file=sys.stdout)
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar, pool_of(workers) as pool:
        shown = bar.add_task("models and reports", total=len(tasks))
        while waiting or running:
            unfinished = waiting.keys() | set(running.values())
            ready = [name for name, task in waiting.items() if not task.after & unfinished]
            for name in ready[: workers - len(running)]:
                running[pool.submit(logged, waiting.pop(name).call, logs / f"{name}.log")] = name
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(done)
                failure = done.exception()
                if failure is not None:
                    raise RuntimeError(f"{name} failed ({failure}); see {logs / name}.log") from failure
                bar.advance(shown)


def pool_of(workers: int) -> Executor:
    """Processes of one thread each: small networks gain more from a second model than from a second core."""
    if workers == 1:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,))


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


def means_table(comparison: Comparison) -> str:
    lines = ["| answer | needs | seeds | 1-shot | folds | 5-shot | folds |", "|---|---|---|---|---|---|---|"]
    for row in comparison.rows:
        reports = written_reports(comparison, row)
        cells = [cell for shots in SHOTS for cell in figures([report["shots"][shots] for report in reports])]
        lines.append(f"| {row.name} | {row.needs} | {len(reports)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def classes_table(comparison: Comparison) -> str:
    """Every class of every row that was run: 1-shot / 5-shot."""
    columns: dict[str, dict[str, str]] = {}
    for row in comparison.rows:
        if reports := written_reports(comparison, row):
            one_shot, more_shots = (class_means([report["shots"][shots] for report in reports]) for shots in SHOTS)
            columns[row.name] = {name: f"{one_shot[name]:.0f} / {more_shots[name]:.0f}" for name in one_shot}
    names = {name: None for values in columns.values() for name in values}
    lines = [f"| class, 1-shot / 5-shot | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {name} | {' | '.join(values.get(name, '') for values in columns.values())} |" for name in names]
    return "\n".join(lines) + "\n"


def written_reports(comparison: Comparison, row: Row) -> list[dict[str, Any]]:
    files = [report_file(comparison, row, seed) for seed in row.seeds]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def class_means(of_seeds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Every class of every fold, its mean over seeds."""
    folds = [report["folds"].values() for report in of_seeds]
    return {
        name: statistics.mean(fold["classes"][name] for fold in same_fold)
        for same_fold in zip(*folds, strict=True)
        for name in same_fold[0]["classes"]
    }


def figures(of_seeds: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The mean over folds with its spread over seeds, and every fold's mean over seeds."""
    folds = [[fold["mIoU"] for fold in report["folds"].values()] for report in of_seeds]
    means = (f"{statistics.mean(values):.1f}" for values in zip(*folds, strict=True))
    return figure([report["mean_mIoU"] for report in of_seeds]), ", ".join(means)


def figure(values: list[float]) -> str:
    if not values:
        return "not measured"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")


if __name__ == "__main__":
    Console().print(compare(sys.argv[1], sys.argv[2:]), highlight=False)
