"""Crowded scenes of the drawn world, every object told apart: several of a class, many of them touching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlg.world import scenes
from tlg.world.textures import BACKGROUNDS
from tlg.world.vocabulary import index_of

# Numbers of objects lie above those of all classes.
FIRST_OBJECT = 150
MOST_OBJECTS = 5


@dataclass(frozen=True)
class Crowd:
    """`objects` holds 0 where there is none, else the number of the topmost; `class_of` says what each is."""

    image: np.ndarray  # uint8 (H,W,3)
    objects: np.ndarray  # uint8 (H,W)
    class_of: dict[int, str]

    def masks(self, name: str) -> list[np.ndarray]:
        """What is to be seen of each object of a class."""
        return [self.objects == number for number, of in self.class_of.items() if of == name]


def crowd(rng: np.random.Generator, names: tuple[str, ...], size: int = 256) -> Crowd:
    """One to five objects of each class, as small as a scene of three classes has them."""
    canvas = BACKGROUNDS[scenes.choose_background(rng, names)](rng, size).astype(np.float32)
    scenes.scatter_clutter(rng, canvas)
    # The painter keeps what is seen of each number apart: a class's own is given another after each object.
    objects = np.zeros((size, size), np.uint8)
    class_of: dict[int, str] = {}
    for name in names:
        for _ in range(int(rng.integers(1, MOST_OBJECTS + 1))):
            scenes.place(rng, canvas, objects, index_of(name), crowd=3)
            painted = objects == index_of(name) + 1
            if painted.any():
                number = FIRST_OBJECT + len(class_of)
                objects[painted] = number
                class_of[number] = name
    return Crowd(scenes.develop(rng, canvas), objects, class_of)
