"""Scenes and exemplar sets of classes that the bundled network never saw."""

import numpy as np

from tlg import world
from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars
from tlg.pictures import Picture

NAMES = ("mug", "truck")


def scene(seed, names, required=None):
    return world.scene(np.random.default_rng(seed), 192, names, required)


def exemplar_set(names=NAMES, shown=NAMES):
    classes = tuple(
        LoadedClass(
            name,
            number,
            None,
            (),
            tuple(LoadedExemplar(f"{name}{k}", scene([number, k], [what], what).image) for k in range(2)),
        )
        for number, (name, what) in enumerate(zip(names, shown, strict=True), start=1)
    )
    negatives = tuple(LoadedExemplar(f"n{k}", scene([9, k], ["leaf", "gear"]).image) for k in range(2))
    return LoadedExemplars("set", classes, negatives, "digest")


def picture(scene):
    return Picture(scene.image, *scene.image.shape[:2])
