"""Images, their versions and sets of classes as 64-bit numbers: very many of them fit into little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def image_numbers(image_ids: pa.ChunkedArray | Sequence[str]) -> np.ndarray:
    """The first 64 bits of each image id, which tell images apart."""
    texts = image_ids.to_pylist() if isinstance(image_ids, (pa.ChunkedArray, pa.Array)) else image_ids
    return np.fromiter((int(text[:16], 16) for text in texts), np.uint64, len(texts))


def image_keys(image_ids: Sequence[str], etags: Sequence[str | None]) -> np.ndarray:
    """One number per version of an image."""
    digests = b"".join(
        hashlib.blake2b(f"{image_id}\0{etag or ''}".encode(), digest_size=8).digest()
        for image_id, etag in zip(image_ids, etags, strict=True)
    )
    return np.frombuffer(digests, np.uint64)


def text_numbers(texts: Sequence[str]) -> np.ndarray:
    """One number per text."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, np.uint64)


def classes_key(class_ids: Sequence[int]) -> np.uint64:
    """One number per set of classes; sets add up, so that rows can be summed."""
    return class_numbers(np.asarray(class_ids, np.uint64)).sum(dtype=np.uint64)


def class_numbers(values: np.ndarray) -> np.ndarray:
    """splitmix64: neighbouring class ids become numbers whose sums do not meet by chance."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


class NumberSet:
    """Very many numbers at eight bytes each: sorted runs, of which the last two are merged when of like size."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, numbers: np.ndarray) -> None:
        run = np.unique(numbers)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.unique(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)

    def has(self, numbers: np.ndarray) -> np.ndarray:
        present = np.zeros(len(numbers), bool)
        for run in self._runs:
            present |= is_in(numbers, run)
        return present


def is_in(numbers: np.ndarray, sorted_numbers: np.ndarray) -> np.ndarray:
    """Which numbers occur in a sorted array."""
    if not len(sorted_numbers):
        return np.zeros(len(numbers), bool)
    places = np.minimum(np.searchsorted(sorted_numbers, numbers), len(sorted_numbers) - 1)
    return sorted_numbers[places] == numbers
