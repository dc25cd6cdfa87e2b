"""Which of ImageNet's thousand classes a name stands for: its own, those below it ("dog"), or the nearest above it.

The table is made by `python -m tlg.recipes.words` from WordNet 3.0 and ImageNet's list of classes.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

TABLE = Path(__file__).with_name("words.json")
# Endings of English plurals, and what stands in their place; WordNet's own list for nouns.
PLURALS = (
    ("ches", "ch"),
    ("shes", "sh"),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
)
# A last word shorter than that is no noun that stands for a longer name ("type a").
SHORTEST_HEAD = 3


def imagenet_rows(name: str) -> tuple[int, ...]:
    """The rows of the classifier that speak for `name`, none where no noun of it is known.

    A longer name that WordNet does not list goes by its last word: "brown cow" is a cow.
    """
    words = name.lower().replace("_", " ").replace("-", " ").split()
    if not words:
        return ()
    phrases = [" ".join(words)]
    if len(words) > 1 and len(words[-1]) >= SHORTEST_HEAD:
        phrases.append(words[-1])
    for phrase in phrases:
        for noun in (phrase, *singulars(phrase)):
            if noun in _table():
                return _rows(_table()[noun])
    return ()


def singulars(phrase: str) -> list[str]:
    """What `phrase` may be the plural of."""
    return [phrase.removesuffix(ending) + instead for ending, instead in PLURALS if phrase.endswith(ending)]


def known_words() -> list[str]:
    return sorted(_table())


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


def _rows(spans: str) -> tuple[int, ...]:
    rows: list[int] = []
    for span in spans.split(","):
        first, _, last = span.partition("-")
        rows += range(int(first), int(last or first) + 1)
    return tuple(rows)
