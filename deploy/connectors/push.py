"""`tlg push`: a job's answers back to the project or task that it answered, a page at a time, each once.

Started again, it goes on where it was: what the tool has already is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from jobs.output import catalogue as catalogues
from jobs.output import runs, shards
from jobs.output.parts import Rows
from jobs.output.selection import Filter, Selection
from tlg import store
from tlg.answers.records import SCHEMA
from tlg.errors import SpecError, StorageError

IMAGES_PER_PAGE = 50
PLACES = "label-studio+http://HOST/projects/7 or cvat+http://HOST/tasks/7"


class Receiver(Protocol):
    """A project or a task, and what it has already."""

    def knows(self, image_uri: str) -> bool: ...

    def has(self, rows: Rows) -> bool:
        """Whether the image of these rows was pushed before, or is a person's by now."""

    def prediction(self, rows: Rows) -> Any:
        """What is pushed for an image; None where there is nothing to say."""

    def post(self, predictions: list[Any]) -> None:
        """All of them, or a StorageError."""

    def remarks(self) -> Iterator[str]:
        """What whoever pushes should hear in the end."""


def push(
    output: str, to: str | None = None, access: store.Access = store.DEFAULT_ACCESS, min_score: float = 0.0
) -> Iterator[str]:
    """`to` is the project or task; None takes the collection that was answered, where that was one."""
    output = output.rstrip("/")
    catalogue = catalogues.load(output, access)
    if not catalogue.shards:
        raise StorageError(f"{output}: no committed answers here; expected {shards.FOLDER}/*.parquet", missing=True)
    place = to or _collection(output, access)
    receiver_of = _receiver_of(place)
    yield f"{place}: looking at what is there"
    receiver = receiver_of(place, access)
    counts: Counter[str] = Counter()
    answers = Selection(catalogue, output, Filter(min_score)).images(SCHEMA.names)
    predictions = _predictions(answers, receiver, counts)
    while page := list(islice(predictions, IMAGES_PER_PAGE)):
        receiver.post(page)
        counts["pushed"] += len(page)
        yield _told(counts)
    if not counts:
        yield f"none of the answered images is an image of {place}"
    elif not counts["pushed"]:
        yield _told(counts)
    yield from receiver.remarks()


def _predictions(answers: Iterator[Rows], receiver: Receiver, counts: Counter[str]) -> Iterator[Any]:
    for rows in answers:
        if rows[0]["status"] == "error" or not receiver.knows(rows[0]["image_uri"]):
            continue
        if receiver.has(rows):
            counts["there"] += 1
        elif (prediction := receiver.prediction(rows)) is None:
            counts["empty"] += 1
        else:
            yield prediction


def _told(counts: Counter[str]) -> str:
    empty = f", {counts['empty']:,} images have nothing to push" if counts["empty"] else ""
    return f"{counts['pushed']:,} predictions pushed, {counts['there']:,} were there{empty}"


def _receiver_of(place: str) -> Callable[[str, store.Access], Receiver]:
    scheme = store.scheme(place)
    if scheme.startswith("label-studio+"):
        from deploy.connectors.label_studio_push import Project

        return Project
    if scheme.startswith("cvat+"):
        from deploy.connectors.cvat_push import Task

        return Task
    raise SpecError(f"--to {place}: takes no predictions; expected {PLACES}")


def _collection(output: str, access: store.Access) -> str:
    recorded = runs.recorded(output, access, last=1)
    collection = recorded[0]["collection"] if recorded else ""
    if not collection.startswith(("label-studio+", "cvat+")):
        raise SpecError(
            f"{output}: answers images of {collection or 'an unknown collection'}; "
            f"name a project or a task: --to {PLACES}"
        )
    return collection
