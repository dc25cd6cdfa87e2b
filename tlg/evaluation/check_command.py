"""`tlg exemplars check SET`: what each exemplar's class says of it, and which are worth a look."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tlg import exemplars as exemplar_sets
from tlg.annotators.check import ExemplarCheck, ExemplarChecker
from tlg.hub import zoo
from tlg.spec import DEFAULT_MODEL


def check(uri: str, model: str | None) -> Iterator[str]:
    """A line for each exemplar as it is done, then how many are worth a look."""
    loaded = exemplar_sets.load(uri)
    prepared = zoo.load(model or DEFAULT_MODEL, "cuda" if torch.cuda.is_available() else "cpu")
    doubtful = 0
    for checked in ExemplarChecker(prepared, loaded).check():
        doubtful += checked.warning is not None
        yield line(checked)
    yield f"{doubtful} of {sum(len(of_class.exemplars) for of_class in loaded.classes)} exemplars are worth a look"


def line(checked: ExemplarCheck) -> str:
    said = [f"{checked.class_name}: {checked.uri}"]
    if checked.presence is not None:
        said.append(f"presence {checked.presence:.2f}")
    if checked.overlap is not None:
        said.append(f"overlap {checked.overlap:.2f}")
    if checked.warning is not None:
        said.append(f"LOOK: {checked.warning}")
    return "  ".join(said)
