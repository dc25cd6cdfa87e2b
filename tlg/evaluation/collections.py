"""One model judged on several collections: right exemplars, another class's, with and without drawn masks.

    python -m tlg.evaluation.collections configs/accuracy/photographs.yaml [COLLECTION or COLLECTION/METHOD ...]

Reports that are there are kept, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console

from tlg import store
from tlg.documents import Document, parse, read_text
from tlg.evaluation.evaluate import evaluate
from tlg.training.spec import Part


class JudgedCollection(Document):
    """A folder of photographs with label maps and `episodes.json`, and the model that is judged on it."""

    root: Path
    model: str = Field(description="`{fold}` stands for the fold")


class Method(Document):
    """A column of the table."""

    title: str
    method: str = Field(description="As in the evaluation config")
    reading: bool = Field(False, description="Whether another class's exemplars are asked as well")
    without: Part | None = Field(None, description="As in the evaluation config")


class Judgement(Document):
    evaluate: str = Field(description="Evaluation config")
    out: Path
    collections: dict[str, JudgedCollection]
    methods: list[Method]
    shots: list[int] = Field([1, 5], min_length=1)


def judge(config: str, only: Sequence[str] = ()) -> str:
    """Runs what is not done yet; returns the table as Markdown (also `out/table.md`)."""
    judgement = parse(Judgement, read_text(store.read_text(config), config), config)
    for name, collection in judgement.collections.items():
        for method in judgement.methods:
            if not only or not {name, f"{name}/{method.method}"}.isdisjoint(only):
                report_of(judgement, name, collection, method)
    text = f"{table(judgement)}\n{classes(judgement)}"
    store.write(str(judgement.out / "table.md"), text.encode())
    return text


def report_of(judgement: Judgement, name: str, collection: JudgedCollection, method: Method) -> None:
    file = report_file(judgement, name, method)
    if file.exists():
        return
    overrides = {
        "benchmark.root": collection.root,
        "benchmark.episodes": collection.root / "episodes.json",
        "model": collection.model,
        "method": method.method,
        "reading": str(method.reading).lower(),
        "without": "null" if method.without is None else method.without,
        "shots": judgement.shots,
        "out": file,
        "cache": judgement.out / "features",
    }
    dump = judgement.out / "answers" / file.stem
    evaluate(judgement.evaluate, dump=dump, overrides=[f"{key}={value}" for key, value in overrides.items()])


def report_file(judgement: Judgement, name: str, method: Method) -> Path:
    without = "" if method.without is None else f"-without-{method.without.replace(' ', '-')}"
    return judgement.out / f"{name}-{method.method}{without}.json"


def table(judgement: Judgement) -> str:
    """mIoU at every number of shots and, in brackets, how much of it is owed to the right exemplars."""
    rows = {
        name: [cell(report_file(judgement, name, method)) for method in judgement.methods]
        for name in judgement.collections
    }
    return markdown("collection", judgement, rows)


def markdown(what: str, judgement: Judgement, rows: Mapping[str, Sequence[str]]) -> str:
    """A table with a column for each method."""
    methods, shots = judgement.methods, " / ".join(map(str, judgement.shots))
    head = f"| {what}, {shots} shots | {' | '.join(method.title for method in methods)} |"
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join([head, "|---" * (1 + len(methods)) + "|", *lines]) + "\n"


def cell(file: Path) -> str:
    if not file.exists():
        return "not measured"
    of_shots = list(json.loads(file.read_text())["shots"].values())
    right = " / ".join(f"{result['mean_mIoU']:.1f}" for result in of_shots)
    if "mean_reading" not in of_shots[0]:
        return right
    reading = " / ".join(f"{result['mean_reading']:.1f}" for result in of_shots)
    return f"{right} ({reading})"


def classes(judgement: Judgement) -> str:
    """Every class of every collection."""
    rows: dict[str, list[str]] = {}
    for name in judgement.collections:
        columns = [of_classes(report_file(judgement, name, method)) for method in judgement.methods]
        for class_name in next((list(column) for column in columns if column), []):
            rows[f"{name}: {class_name}"] = [column.get(class_name, "") for column in columns]
    return markdown("class", judgement, rows)


def of_classes(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    of_shots = [flat(result) for result in json.loads(file.read_text())["shots"].values()]
    return {name: " / ".join(f"{figures[name]:.0f}" for figures in of_shots) for name in of_shots[0]}


def flat(of_shots: dict[str, Any]) -> dict[str, float]:
    return {name: value for fold in of_shots["folds"].values() for name, value in fold["classes"].items()}


if __name__ == "__main__":
    Console().print(judge(sys.argv[1], sys.argv[2:]), highlight=False)
