"""`tlg suggest`: the pictures whose labelling would help most, and why."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from jobs.commands.review import load
from jobs.output import measured
from jobs.output.catalogue import Catalogue
from jobs.review import sample, scan, verdicts
from tlg import store
from tlg.answers.scoring import PRESENT
from tlg.review.population import STEPS

PICTURES = 6
CANDIDATES = 24
# Doubtful: a mask with a score below this, or a class that is there or not with odds of less than three to one.
LOW_SCORE = 0.7
NEAR = 0.25


@dataclass
class Doubts:
    """One class: how many answers are doubtful, and those that are so most, as (doubt, image)."""

    answers: int = 0
    weak_masks: int = 0
    near_presence: int = 0
    most: list[tuple[float, int]] = field(default_factory=list)

    @property
    def doubtful(self) -> int:
        return self.weak_masks + self.near_presence


@dataclass(frozen=True)
class Suggestion:
    image_uri: str
    reason: str


def suggest(output: str, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    suggested = suggestions(load(output, access))
    if not suggested:
        yield "no answer is doubtful: more exemplars would not change much"
    for number, suggestion in enumerate(suggested, start=1):
        yield f"{number}. {suggestion.image_uri}"
        yield f"   {suggestion.reason}"


def suggestions(catalogue: Catalogue, pictures: int = PICTURES) -> list[Suggestion]:
    """Each from the class with most doubtful answers that has fewest suggestions yet; none twice, none judged before.

    Where people reviewed the answers, a class with many errors goes before one with few.
    """
    names = scan.class_names(catalogue)
    judged = {int(verdict.image_id[:16], 16) for verdict in verdicts.read(catalogue.output, catalogue.access)}
    doubts = _doubts(catalogue, names, judged)
    need = _need(catalogue, names, doubts)
    chosen: dict[int, int] = {}
    given = np.zeros(len(names))
    while len(chosen) < pictures:
        order = np.argsort(-need / (1 + given) ** 2, kind="stable")
        taken = next((c for c in order.tolist() if _next(doubts[c], chosen) is not None and need[c] > 0), None)
        if taken is None:
            break
        image = _next(doubts[taken], chosen)
        assert image is not None
        chosen[image] = taken
        given[taken] += 1
    return _told(catalogue, names, doubts, chosen)


def _doubts(catalogue: Catalogue, names: tuple[str, ...], judged: set[int]) -> list[Doubts]:
    doubts = [Doubts() for _ in names]
    for block in scan.blocks(catalogue, names):
        value_N = block.steps / STEPS
        weak_N = block.is_mask & (value_N < LOW_SCORE)
        near_N = ~block.is_mask & (np.abs(value_N - PRESENT) < NEAR)
        # A score is a probability that ends at what is doubted least.
        doubt_N = np.where(block.is_mask, 1 - value_N, 1 - 2 * np.abs(value_N - PRESENT))
        for place, of_class in enumerate(doubts):
            own = np.flatnonzero((block.classes == place) & (weak_N | near_N))
            of_class.answers += int((block.classes == place).sum())
            of_class.weak_masks += int(weak_N[own].sum())
            of_class.near_presence += int(near_N[own].sum())
            images = block.numbers[block.images[own]].tolist()
            fresh = [pair for pair in zip(doubt_N[own].tolist(), images, strict=True) if pair[1] not in judged]
            of_class.most = heapq.nlargest(CANDIDATES, [*of_class.most, *fresh])
    return doubts


def _need(catalogue: Catalogue, names: tuple[str, ...], doubts: list[Doubts]) -> np.ndarray:
    """How many answers of each class more labels may mend."""
    figures = measured.REVIEW.read(catalogue.output, catalogue.access)
    known = {} if figures is None else figures["classes"]
    need = []
    for name, of_class in zip(names, doubts, strict=True):
        told = known.get(name, {})
        wrong = 1 - told["precision"]["value"] if told.get("precision") else 0.5
        missed = told["missed"]["value"] if told.get("missed") else 0.5
        need.append(of_class.doubtful * max(0.02, wrong + missed))
    return np.array(need)


def _next(doubts: Doubts, chosen: dict[int, int]) -> int | None:
    return next((image for _, image in doubts.most if image not in chosen), None)


def _told(
    catalogue: Catalogue, names: tuple[str, ...], doubts: list[Doubts], chosen: dict[int, int]
) -> list[Suggestion]:
    by_number = {}
    if not chosen:
        return []
    for rows in sample.rows_of(catalogue, np.array(list(chosen), np.uint64)):
        number = int(rows[0]["image_id"][:16], 16)
        name = names[chosen[number]]
        row = next(row for row in rows if row["class_name"] == name)
        of_class = doubts[chosen[number]]
        if row["status"] == "mask":
            what = f"its mask scores {row['score']:.2f}, and {of_class.weak_masks:,} masks score below {LOW_SCORE:g}"
        else:
            what = (
                f"whether it is there is an open question (presence {row['presence']:.2f}), "
                f"as in {of_class.near_presence:,} pictures"
            )
        by_number[number] = Suggestion(rows[0]["image_uri"], f"{name}: {what}")
    return [by_number[number] for number in chosen]
