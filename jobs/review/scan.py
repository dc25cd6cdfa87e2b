"""All answers of an output by their columns: what a sample is drawn from. Memory does not grow with the collection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.output.catalogue import Catalogue
from jobs.output.identity import image_numbers
from tlg.review.population import STEPS, Population, step_of
from tlg.review.sampling import Design, Draw, Drawn

COLUMNS = ["image_id", "class_name", "status", "score", "presence", "part"]


@dataclass(frozen=True)
class Block:
    """Some images (I) and the rows of their classes (N), image by image."""

    numbers: np.ndarray  # (I,)
    firsts: np.ndarray  # (I,)
    images: np.ndarray  # (N,) like all that follow
    classes: np.ndarray
    is_mask: np.ndarray
    steps: np.ndarray

    @property
    def has_mask(self) -> np.ndarray:
        return np.logical_or.reduceat(self.is_mask, self.firsts)


def class_names(catalogue: Catalogue) -> tuple[str, ...]:
    return tuple(sorted({of_class.name for index in catalogue.shards for of_class in index.classes}))


def population(catalogue: Catalogue) -> Population:
    counted = Population.empty(class_names(catalogue))
    for block in blocks(catalogue, counted.classes):
        has_mask_N = block.has_mask[block.images]
        counted.add(block.classes, block.is_mask, block.steps, has_mask_N, len(block.numbers))
    return counted


def draw(catalogue: Catalogue, counted: Population, pictures: int) -> Drawn:
    """The sample of `pictures`, or of all where there are fewer."""
    design = Design.of(counted, pictures)
    taken = Draw(design, pictures)
    for block in blocks(catalogue, counted.classes):
        has_mask_I = block.has_mask
        # Of each image the least certain mask comes first, behind it what has no mask.
        order = np.lexsort((np.where(block.is_mask, block.steps, 2 * STEPS), block.images))
        doubtful_I = order[block.firsts]
        nearest_I = np.maximum.reduceat(block.steps, block.firsts)
        least_I, class_I = block.steps[doubtful_I], block.classes[doubtful_I]
        step_I = np.where(has_mask_I, least_I, nearest_I)
        stratum_I = np.where(has_mask_I, design.of_masked(class_I, least_I), design.of_unmasked(nearest_I))
        taken.add(block.numbers, stratum_I, step_I)
    return taken.drawn()


def blocks(catalogue: Catalogue, names: tuple[str, ...]) -> Iterator[Block]:
    """The images that could be read, each whole."""
    for table in _whole_images(catalogue.tables(COLUMNS)):
        readable = pc.and_(pc.is_null(table["part"]), pc.not_equal(table["status"], "error"))
        rows = table.filter(readable)
        if not len(rows):
            continue
        numbers = image_numbers(rows["image_id"])
        first_I = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
        is_mask_N = np.asarray(pc.equal(rows["status"], "mask"))
        step_N = step_of(np.where(is_mask_N, rows["score"].to_numpy(), rows["presence"].to_numpy()))
        class_N = np.asarray(pc.index_in(rows["class_name"], pa.array(names)), np.int64)
        image_N = np.cumsum(np.isin(np.arange(len(numbers)), first_I)) - 1
        yield Block(numbers[first_I], first_I, image_N, class_N, is_mask_N, step_N)


def _whole_images(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, cut between images alone."""
    rest: pa.Table | None = None
    for table in tables:
        table = table if rest is None else pa.concat_tables([rest, table])
        ids = table["image_id"].to_pylist()
        cut = len(ids)
        while cut and ids[cut - 1] == ids[-1]:
            cut -= 1
        yield table.slice(0, cut)
        rest = table.slice(cut)
    if rest is not None:
        yield rest
