"""A bank of scenes, made once and read many times: training costs less than drawing.

Shapes: N scenes, S pixels a side.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlg.world import index_of, scene


@dataclass(frozen=True)
class SceneBank:
    """Scenes as arrays that live on disk and are mapped into memory."""

    images: np.ndarray  # uint8 (N,S,S,3)
    labels: np.ndarray  # uint8 (N,S,S), 1 + class index
    captions: list[str]
    present: list[list[str]]
    backgrounds: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def holding(self, name: str) -> list[int]:
        """The scenes in which the class is present."""
        return [number for number, present in enumerate(self.present) if name in present]

    def mask(self, number: int, name: str) -> np.ndarray:
        return self.labels[number] == index_of(name) + 1


def scene_bank(folder: Path, count: int, size: int, classes: Sequence[str], seed: int) -> SceneBank:
    """The bank of scenes `seed`, drawn if the folder does not hold it yet. Every class is required equally often."""
    if not (folder / "scenes.json").exists():
        draw_bank(folder, count, size, classes, seed)
    facts = json.loads((folder / "scenes.json").read_text())
    return SceneBank(
        np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy", mmap_mode="r"), **facts
    )


def draw_bank(folder: Path, count: int, size: int, classes: Sequence[str], seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, size, size, 3))
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, (count, size, size))
    facts: dict[str, list] = {"captions": [], "present": [], "backgrounds": []}
    for number in range(count):
        made = scene(np.random.default_rng([seed, number]), size, classes, required=classes[number % len(classes)])
        images[number], labels[number] = made.image, made.labels
        facts["captions"].append(made.caption)
        facts["present"].append(made.present)
        facts["backgrounds"].append(made.background)
    images.flush()
    labels.flush()
    (folder / "scenes.json").write_text(json.dumps(facts))
