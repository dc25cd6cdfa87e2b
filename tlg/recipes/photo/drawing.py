"""What the makers of pictures share: choices, and a picture with its label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


@dataclass(frozen=True)
class Labelled:
    image: np.ndarray  # uint8 (S,S,3)
    label: np.ndarray  # int16 (S,S)


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def sample(rng: np.random.Generator, items: Sequence[Item], count: int) -> list[Item]:
    """Different ones."""
    return [items[int(index)] for index in rng.choice(len(items), count, replace=False)]


def chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """An integer from `low` to `high`, both included."""
    return int(rng.integers(low, high + 1))
