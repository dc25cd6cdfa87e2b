"""What an export takes, all answers that hold in an output or a part of them, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from jobs.output.catalogue import Catalogue
from jobs.output.index import Index
from jobs.output.parts import Rows, rows_by_image
from tlg import store
from tlg.answers import records
from tlg.answers.formats import coco
from tlg.errors import SpecError

# Everything but who answered.
ANSWER_COLUMNS = [name for name in records.SCHEMA.names if not name.endswith("_digest")]


@dataclass(frozen=True)
class Filter:
    """Which masks an export takes; images stay, so that a set's negatives stay too."""

    min_score: float = 0.0
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise SpecError(f"--min-score {self.min_score:g}: scores lie between 0 and 1")

    def check(self, catalogue: Catalogue) -> None:
        """A class that nobody was asked for is a mistake, not an empty export."""
        known = sorted({of_class.name for index in catalogue.shards for of_class in index.classes})
        for name in self.classes:
            if name not in known:
                raise SpecError(f"--class {name}: no answer is of this class; there are {', '.join(known)}")

    def apply(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            if self.classes:
                # An error row names no class and concerns all of them.
                is_error = pc.equal(table["status"], "error")
                table = table.filter(pc.or_(is_error, pc.is_in(table["class_name"], pa.array(self.classes))))
            if self.min_score:
                low = pc.and_(pc.equal(table["status"], "mask"), pc.less(table["score"], self.min_score))
                place = table.schema.get_field_index("status")
                status = pc.if_else(pc.fill_null(low, False), "absent", table["status"])
                table = table.set_column(place, "status", status)
            yield table


EVERYTHING = Filter()


@dataclass(frozen=True)
class Selection:
    """What a format is made of: the answers, and what there is to know about them.

    Files go below `base`. `root` is the folder of the collection, `name` that of the job; `masks` says how masks are
    written where a format knows both ways.
    """

    catalogue: Catalogue
    base: str
    chosen: Filter = EVERYTHING
    masks: coco.Masks = "rle"
    root: str = ""
    name: str = "answers"

    @property
    def access(self) -> store.Access:
        return self.catalogue.access

    def tables(self, columns: Sequence[str], shards: Iterable[Index] | None = None) -> Iterator[pa.Table]:
        """Answer rows, some at a time; the rows of an image follow each other."""
        return self.chosen.apply(self.catalogue.tables(columns, shards))

    def images(
        self, columns: Sequence[str] = tuple(ANSWER_COLUMNS), shards: Iterable[Index] | None = None
    ) -> Iterator[Rows]:
        """The rows of one image after the other, as dictionaries."""
        return rows_by_image(self.tables(columns, shards))

    def categories(self) -> list[tuple[int, str]]:
        """(id, class name) of every class, an id and a name only once; see `coco.distinct_categories`."""
        newest_first = (
            (of_class.class_id, of_class.name)
            for index in reversed(self.catalogue.shards)
            for of_class in index.classes
        )
        known = coco.distinct_categories(newest_first)
        return [category for category in known if not self.chosen.classes or category[1] in self.chosen.classes]


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and what there is to say about it."""

    uris: list[str]
    remark: str = ""
