"""What is done already: the committed answers themselves, remembered as 64-bit numbers.

An answer is identified by its image (uri and etag), the classes asked, and the digests of model, exemplars
and parameters. Nothing but the shards is believed: an index is made from its shard alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.output import catalogue as catalogues
from jobs.output.catalogue import Catalogue
from jobs.output.identity import classes_key as classes_key
from jobs.output.identity import image_keys as image_keys
from jobs.output.identity import is_in
from tlg import store
from tlg.answers.records import Provenance


@dataclass(frozen=True)
class Ledger:
    """Sorted numbers: `answered` images with their classes, `failed` images, every `known` image."""

    answered: np.ndarray
    failed: np.ndarray
    failed_images: np.ndarray
    known: np.ndarray

    def is_done(self, keys: np.ndarray, classes_keys: np.ndarray) -> np.ndarray:
        """Whether each image version, asked for these classes, has its answer or its error."""
        return is_in(keys + classes_keys, self.answered) | is_in(keys, self.failed)


def load(output: str, provenance: Provenance, access: store.Access = store.DEFAULT_ACCESS) -> Ledger:
    return of(catalogues.load(output, access), provenance)


def of(catalogue: Catalogue, provenance: Provenance) -> Ledger:
    """What the answers that hold say about this provenance."""
    answered, failed, failed_images, known = [], [], [], []
    for index in catalogue.shards:
        holds = catalogue.holds(index)
        same = index.is_of(provenance)
        answered.append(index.answers[same & holds & ~index.is_error])
        # Other exemplars do not make an image of what is none.
        is_final = same & index.is_error | index.is_unreadable(provenance.params_digest)
        failed.append(index.answers[is_final & holds])
        failed_images.append(index.numbers[holds & index.is_error])
        known.append(index.numbers[holds])
    return Ledger(_sorted(answered), _sorted(failed), _sorted(failed_images), _sorted(known))


def _sorted(arrays: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(arrays)) if arrays else np.zeros(0, np.uint64)
