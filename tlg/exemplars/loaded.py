"""An exemplar set in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from tlg.exemplars.drawing import Drawing


@dataclass(frozen=True)
class LoadedExemplar:
    """`mask` is what was given or outlined; `drawing`, in places of `pixels`, is what the picture must explain."""

    uri: str
    pixels: np.ndarray  # (h, w, 3) uint8
    mask: np.ndarray | None = None  # (h, w) bool
    drawing: Drawing | None = None


@dataclass(frozen=True)
class LoadedClass:
    name: str
    class_id: int
    attributes: str | None
    context: tuple[str, ...]
    exemplars: tuple[LoadedExemplar, ...]


@dataclass(frozen=True)
class LoadedExemplars:
    """An exemplar set with its pixels. `digest` depends on names, texts, bytes and drawings, not on where they lie."""

    name: str
    classes: tuple[LoadedClass, ...]
    negatives: tuple[LoadedExemplar, ...]
    digest: str

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(of_class.name for of_class in self.classes)

    @property
    def count(self) -> int:
        return len(self.negatives) + sum(len(of_class.exemplars) for of_class in self.classes)


def feed(digest: hashlib.blake2b, *parts: str) -> None:
    """Their number and each part's length in bytes come first, so that no two inputs are the same bytes."""
    digest.update(len(parts).to_bytes(4, "little"))
    for content in (part.encode() for part in parts):
        digest.update(len(content).to_bytes(8, "little") + content)
