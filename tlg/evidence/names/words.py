"""What a name stands for: ImageNet's own classes, those below it ("dog") or the nearest above it, and a taught kind.

The tables are made by `python -m tlg.recipes.words` from WordNet 3.0 and ImageNet's list of classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

TABLE = Path(__file__).with_name("words.json")
KINDS = Path(__file__).with_name("kinds.json")
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
    noun = next((noun for noun in nouns_of(name) if noun in _table()), None)
    return () if noun is None else _rows(_table()[noun])


def kind_of(name: str) -> str | None:
    """The kind of thing that models are taught with masks, of those in `kinds.json`, under which `name` falls."""
    return next((_kinds()[noun] for noun in nouns_of(name) if noun in _kinds()), None)


def nouns_of(name: str) -> Iterator[str]:
    """What WordNet may list a name under, likeliest first."""
    words = name.lower().replace("_", " ").replace("-", " ").split()
    phrases = [" ".join(words)] if words else []
    if len(words) > 1 and len(words[-1]) >= SHORTEST_HEAD:
        phrases.append(words[-1])
    for phrase in phrases:
        yield phrase
        yield from singulars(phrase)


def singulars(phrase: str) -> list[str]:
    """What `phrase` may be the plural of."""
    return [phrase.removesuffix(ending) + instead for ending, instead in PLURALS if phrase.endswith(ending)]


def known_words() -> list[str]:
    return sorted(_table())


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _kinds() -> dict[str, str]:
    """Word -> kind."""
    listed: dict[str, list[str]] = json.loads(KINDS.read_text(encoding="utf-8"))
    return {word: kind for kind, words in listed.items() for word in words}


def _rows(spans: str) -> tuple[int, ...]:
    rows: list[int] = []
    for span in spans.split(","):
        first, _, last = span.partition("-")
        rows += range(int(first), int(last or first) + 1)
    return tuple(rows)
