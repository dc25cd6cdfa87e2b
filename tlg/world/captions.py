"""What a person would say of a scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlg.world.vocabulary import CLASSES

OPENINGS = ("a photo of {}", "{}", "a picture of {}", "here you see {}", "this is {}")
PLACES = ("{} on {}", "{} in front of {}", "{}, {} behind", "{} with {} in the background")


def caption(rng: np.random.Generator, present: Sequence[str], setting: str) -> str:
    """One sentence that names every class present, some by their attributes, and the background."""
    phrases = [article(CLASSES[name].attributes if rng.random() < 0.4 else name) for name in rng.permutation(present)]
    things = " and ".join(phrases) if phrases else "nothing"
    opening = OPENINGS[rng.integers(len(OPENINGS))].format(things)
    return PLACES[rng.integers(len(PLACES))].format(opening, setting)


def article(phrase: str) -> str:
    if phrase.startswith(("trousers", "scissors", "pliers")):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
