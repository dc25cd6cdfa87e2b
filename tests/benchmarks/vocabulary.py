"""A large vocabulary with the bundled model: the memory of a worker that loads it, and whether all rows are there.

Run in a process of its own, since what is told is the process's highest memory. Takes half an hour on a busy core.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from harness import Row

CLASSES, SHOTS, SIDE, PICTURES = 300, 5, 192, 8
MOST_GB = 3.0
REPOSITORY = Path(__file__).parents[2]


def worker(classes: int) -> dict[str, float]:
    """What a worker of a job does when it starts, then one batch that asks for every class."""
    import resource

    import numpy as np

    from tlg import world
    from tlg.allocation import give_freed_memory_back, keep_freed_memory
    from tlg.annotators.registry import load_annotator
    from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars
    from tlg.pictures import Picture

    kinds = list(world.CLASSES)

    def shown(seed: list[int], kind: str) -> np.ndarray:
        return world.scene(np.random.default_rng(seed), SIDE, [kind], kind).image

    def of_class(number: int) -> LoadedClass:
        kind = kinds[number % len(kinds)]
        shots = tuple(LoadedExemplar(f"{number}-{shot}", shown([number, shot], kind)) for shot in range(SHOTS))
        return LoadedClass(f"{kind} {number}", number + 1, None, (), shots)

    def peak_gb() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    exemplars = LoadedExemplars("vocabulary", tuple(map(of_class, range(classes))), (), "digest")
    give_freed_memory_back()
    began = time.perf_counter()
    annotator = load_annotator("tlg-tiny", exemplars, device="cpu")
    loaded, loading_gb = time.perf_counter() - began, peak_gb()
    keep_freed_memory()
    print(f"{classes} classes loaded in {loaded:.0f} s, {loading_gb:.2f} GB at most", file=sys.stderr, flush=True)
    pictures = [Picture(shown([classes, number], kinds[number]), SIDE, SIDE) for number in range(PICTURES)]
    answers = annotator.annotate(pictures)
    return {
        "loading_gb": loading_gb,
        "loading_seconds": loaded,
        "answering_seconds": time.perf_counter() - began - loaded,
        "answering_gb": peak_gb(),
        "rows": sum(map(len, answers)),
        "masks": sum(answer.status == "mask" for of_picture in answers for answer in of_picture),
    }


def measure(classes: int = CLASSES) -> list[Row]:
    command = [sys.executable, __file__, str(classes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    seen = json.loads(done.stdout.splitlines()[-1])
    inputs = f"{classes} classes x {SHOTS} exemplars of {SIDE} px, tlg-tiny, whole process"
    return [
        Row("vocabulary: loading, peak memory", seen["loading_gb"], "GB", f"< {MOST_GB}", inputs=inputs),
        Row("vocabulary: answering, peak memory", seen["answering_gb"], "GB", "", inputs=inputs),
        Row("vocabulary: rows of 8 pictures", seen["rows"], "rows", f"= {classes * PICTURES}", inputs=inputs),
        Row("vocabulary: loading", seen["loading_seconds"], "s", "", inputs=inputs),
        Row("vocabulary: a picture", seen["answering_seconds"] / PICTURES, "s", "", inputs=inputs),
    ]


if __name__ == "__main__":
    print(json.dumps(worker(int(sys.argv[1]) if sys.argv[1:] else CLASSES)))
