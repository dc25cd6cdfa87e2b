"""What is done already: the committed answers themselves, remembered as 64-bit numbers.

An answer is identified by its image (uri and etag), the classes asked, and the digests of model, exemplars
and parameters. Nothing but the shards is kept: there is no second book that could disagree with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.output import shards
from tlg import store
from tlg.answers.records import Provenance

COLUMNS = ["image_id", "image_etag", "class_id", "status", "model_digest", "exemplars_digest", "params_digest"]


@dataclass(frozen=True)
class Ledger:
    """Sorted numbers: `answered` images with their classes, `failed` images, every `known` image."""

    answered: np.ndarray
    failed: np.ndarray
    failed_images: np.ndarray
    known: np.ndarray
    has_superseded: bool
    next_shard: int

    def is_done(self, keys: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Whether each image version, asked for these classes, has its answer or its error."""
        return shards.is_in(keys + asked, self.answered) | shards.is_in(keys, self.failed)


def load(output: str, provenance: Provenance, access: store.Access = store.DEFAULT_ACCESS) -> Ledger:
    """One pass over the committed shards, newest first: the newest rows of an image are the ones that hold."""
    answered, failed, failed_images, known = [], [], [], []
    seen = shards.NumberSet()
    has_superseded = False
    committed = shards.committed(output, access)
    for shard in reversed(committed):
        table = shards.read(shard, COLUMNS, access)
        firsts, classes = _by_image(table)
        images = table.take(firsts)
        numbers = shards.image_numbers(images["image_id"])
        old = seen.has(numbers)
        has_superseded |= bool(old.any())
        same = _is_of(images, provenance) & ~old
        is_error = np.asarray(pc.equal(images["status"], "error").to_numpy(zero_copy_only=False), bool)
        keys = image_keys(images["image_id"].to_pylist(), images["image_etag"].to_pylist())
        answered.append((keys + classes)[same & ~is_error])
        failed.append(keys[same & is_error])
        failed_images.append(numbers[is_error & ~old])
        known.append(numbers)
        seen.add(numbers)
    return Ledger(
        _sorted(answered),
        _sorted(failed),
        _sorted(failed_images),
        _sorted(known),
        has_superseded,
        committed[-1].number + 1 if committed else 1,
    )


def image_keys(image_ids: Sequence[str], etags: Sequence[str | None]) -> np.ndarray:
    """One number per version of an image."""
    digests = b"".join(
        hashlib.blake2b(f"{image_id}\0{etag or ''}".encode(), digest_size=8).digest()
        for image_id, etag in zip(image_ids, etags, strict=True)
    )
    return np.frombuffer(digests, np.uint64)


def classes_key(class_ids: Sequence[int]) -> np.uint64:
    """One number per set of classes; sets add up, so that rows can be summed."""
    return _mixed(np.asarray(class_ids, np.uint64)).sum(dtype=np.uint64)


def _by_image(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Where each image's rows begin, and the sum of its classes' numbers. Rows of an image lie together."""
    codes = table["image_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    firsts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, np.int64)
    class_ids = pc.fill_null(table["class_id"], 0).to_numpy().astype(np.uint64)
    sums = np.add.reduceat(_mixed(class_ids), firsts) if len(firsts) else np.zeros(0, np.uint64)
    return firsts, sums


def _mixed(values: np.ndarray) -> np.ndarray:
    """splitmix64: neighbouring class ids become numbers whose sums do not meet by chance."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _is_of(images: pa.Table, provenance: Provenance) -> np.ndarray:
    same = np.ones(images.num_rows, bool)
    for column in ("model_digest", "exemplars_digest", "params_digest"):
        equal = pc.equal(images[column], getattr(provenance, column))
        same &= np.asarray(equal.to_numpy(zero_copy_only=False), bool)
    return same


def _sorted(arrays: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(arrays)) if arrays else np.zeros(0, np.uint64)
