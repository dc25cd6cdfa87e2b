"""What a class of the world is, and the one register of them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tlg.world.geometry import Part

Draw = Callable[[np.random.Generator], list[Part]]

REGISTER: dict[str, Kind] = {}


@dataclass(frozen=True)
class Kind:
    """One class: how to draw it and how people speak of it."""

    name: str
    draw: Draw
    attributes: str
    contexts: tuple[str, ...]
    hues: tuple[float, ...]
    upright: bool
    novel: bool


def kind(
    name: str,
    attributes: str,
    contexts: tuple[str, ...],
    hues: tuple[float, ...] = (),
    upright: bool = False,
    novel: bool = False,
) -> Callable[[Draw], Draw]:
    """Registers a drawing function as a class.

    `hues` are its usual colours (0..1 on the colour wheel; none = any), `contexts` its usual backgrounds,
    `upright` classes lean little, the others turn freely. A `novel` class is never shown to a trained segmenter.
    """

    def register(draw: Draw) -> Draw:
        REGISTER[name] = Kind(name, draw, f"{name} with {attributes}", contexts, hues, upright, novel)
        return draw

    return register
