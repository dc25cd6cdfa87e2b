"""What the default model answers a second, and what that is in passes of its own backbone.

The annotator answers drawn pictures of 640x480 for 1, 10 and 50 classes of five shots each, all of which it takes for
present: the most that a picture can cost. Backbone and annotator are timed in turns, so that a busy machine slows both.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from harness import Row, repeated

from tlg import world
from tlg.allocation import keep_freed_memory
from tlg.annotators import network as annotator_module
from tlg.annotators.network import NetworkAnnotator, NetworkModel
from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars
from tlg.hub import zoo
from tlg.pictures import Picture
from tlg.spec import DEFAULT_MODEL

# Classes -> pictures that are answered at once.
PICTURES = {1: 4, 10: 2, 50: 1}
SHOTS = 5
REPEATS = 3
# Classes of five shots -> the most backbone passes a picture may cost.
AIMS = {1: "<= 2.0"}


def drawn(seed: int) -> np.ndarray:
    return np.ascontiguousarray(world.scene(np.random.default_rng(seed), 640).image[:480])


def exemplar_set(classes: int) -> LoadedExemplars:
    """Pictures come again from class to class: only how many there are costs anything."""
    shown = [LoadedExemplar(f"{shot}", drawn(shot)) for shot in range(SHOTS)]
    return LoadedExemplars(
        "bench",
        tuple(LoadedClass(f"class {number}", number, None, (), tuple(shown)) for number in range(1, classes + 1)),
        (),
        "bench",
    )


def rows(annotator: NetworkAnnotator, classes: int) -> list[Row]:
    count = PICTURES[classes]
    pictures = [Picture(pixels, *pixels.shape[:2]) for pixels in map(drawn, range(100, 100 + count))]
    inputs = torch.cat([annotator._input(picture.pixels) for picture in pictures])
    annotator.annotate(pictures)
    passes, speeds = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for row in range(count):
            annotator._encode(inputs[[row]])
        encoded = time.perf_counter()
        annotator.annotate(pictures)
        answered = time.perf_counter()
        passes.append((answered - encoded) / (encoded - start))
        speeds.append(count / (answered - encoded))
    what, inputs = f"{classes} class{'es' * (classes > 1)} of {SHOTS} shots", f"640x480, {annotator.device}, one thread"
    return [
        repeated(what, passes, "backbone passes", AIMS.get(classes, ""), inputs),
        repeated(what, speeds, "images a second", inputs=inputs),
    ]


@torch.inference_mode()
def measure() -> list[Row]:
    keep_freed_memory()  # as workers do, which have a thread each
    torch.set_num_threads(1)
    annotator_module.PRESENT = 0.0
    model = NetworkModel(zoo.load(DEFAULT_MODEL, "cuda" if torch.cuda.is_available() else "cpu"))
    return [row for classes in PICTURES for row in rows(model.with_exemplars(exemplar_set(classes)), classes)]
