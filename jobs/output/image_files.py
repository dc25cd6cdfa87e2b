"""A format with files for each image: some are written at once, and only those whose shards have changed.

Files are named like their image; two images of one folder whose names differ in their suffix alone keep it, so that
neither writes over the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow.compute as pc

from jobs.output import marker as markers
from jobs.output.identity import NumberSet, text_numbers
from jobs.output.index import Index
from jobs.output.leftovers import delete_if_there
from jobs.output.marker import Marker
from jobs.output.parts import Rows
from jobs.output.selection import ANSWER_COLUMNS, Exported, Selection
from tlg import store
from tlg.answers.formats import coco
from tlg.errors import InputError, StorageError

WRITTEN_AT_ONCE = 8
# Images whose files are drawn or wait to be: their rows, and with some formats their bytes, are in memory.
WAITING_AT_MOST = 2 * WRITTEN_AT_ONCE
EXAMPLES = 3


@dataclass(frozen=True)
class Names:
    """Image -> the name of its files, without a suffix."""

    root: str
    shared: frozenset[int]

    def of(self, uri: str) -> str:
        stem = _stem(uri, self.root)
        return _place(uri, self.root) if int(text_numbers([stem])[0]) in self.shared else stem


# The files of one image, (place below the base, content), from its rows and its name.
Draw = Callable[[Rows, str], Iterable[tuple[str, bytes]]]


@dataclass(frozen=True)
class ImageFiles:
    """`draw` gives an image's files, which lie in `folders` (folder below the base -> pattern of names)."""

    answers: Selection
    folders: Mapping[str, str]
    draw: Draw
    columns: Sequence[str] = tuple(ANSWER_COLUMNS)

    def write(self) -> Exported:
        """All files, whatever was there before."""
        names = names_of(self.answers)
        remark = self._write(names, self.answers.catalogue.shards)
        self._sweep(names)
        return Exported(self._uris(), remark)

    def update(self, name: str, settings: Mapping[str, Any]) -> Exported:
        """The files of shards that the marker called `name` does not know."""
        catalogue = self.answers.catalogue
        marker = markers.read(catalogue.output, name, catalogue.access)
        if marker and (marker.state, marker.settings) == (catalogue.fingerprint, markers.digest(settings)):
            return Exported([])
        names = names_of(self.answers)
        shared = sorted(names.shared)
        is_same = marker and marker.settings == markers.digest(settings) and marker.made["shared"] == shared
        known = {tuple(shard) for shard in marker.made["shards"]} if marker and is_same else set()
        present = {(index.shard.number, index.shard.size): index for index in catalogue.shards}
        unchanged = known & present.keys()
        self._mark(name, settings, "", unchanged, shared)  # a run that is killed here has written no more than these
        remark = self._write(names, [index for shard, index in present.items() if shard not in unchanged])
        # A run that was killed may have left files of images that went.
        if unchanged != known or marker is None or not marker.state:
            self._sweep(names)
        self._mark(name, settings, catalogue.fingerprint, present.keys(), shared)
        return Exported(self._uris(), remark)

    def _mark(
        self, name: str, settings: Mapping[str, Any], state: str, shards: Iterable[tuple[int, int]], shared: list[int]
    ) -> None:
        made = {"shards": sorted(map(list, shards)), "shared": shared}
        catalogue = self.answers.catalogue
        Marker(state, markers.digest(settings), made).write(catalogue.output, name, catalogue.access)

    def _uris(self) -> list[str]:
        return [f"{self.answers.base}/{folder}" for folder in self.folders]

    def _write(self, names: Names, shards: Iterable[Index]) -> str:
        """Draw and write the files of some shards' images; returns what there is to say."""
        count, left_out = 0, []
        images = (rows for rows in self.answers.images(self.columns, shards) if rows[0]["status"] != "error")
        with ThreadPoolExecutor(WRITTEN_AT_ONCE) as pool:
            waiting: deque[tuple[str, Future[str]]] = deque()

            def finish() -> None:
                uri, future = waiting.popleft()
                if problem := future.result():
                    left_out.append(f"{uri}: {problem}")

            for rows in images:
                if len(waiting) == WAITING_AT_MOST:
                    finish()
                uri = rows[0]["image_uri"]
                waiting.append((uri, pool.submit(self._write_image, rows, names.of(uri))))
                count += 1
            while waiting:
                finish()
        remark = f"files of {count - len(left_out):,} images"
        if left_out:
            remark += f"; {len(left_out):,} left out: " + "; ".join(left_out[:EXAMPLES])
        return remark

    def _write_image(self, rows: Rows, name: str) -> str:
        """Returns why there are no files where the image cannot be had any more."""
        try:
            drawn = list(self.draw(rows, name))
        except InputError as error:
            return str(error)
        except StorageError as error:
            if error.transient:
                raise
            return str(error)
        for place, content in drawn:
            store.write(f"{self.answers.base}/{place}", content, self.answers.access)
        return ""

    def _sweep(self, names: Names) -> None:
        """Remove files of images that are not among the answers any more."""
        wanted = NumberSet()
        for uris in _uris_that_hold(self.answers):
            wanted.add(text_numbers([names.of(uri) for uri in uris]))
        for folder, pattern in self.folders.items():
            base = f"{self.answers.base}/{folder}"
            entries = [entry.uri for entry in store.listed(base, pattern, self.answers.access)]
            numbers = text_numbers(
                [str(PurePosixPath(uri.removeprefix(f"{base}/")).with_suffix("")) for uri in entries]
            )
            for place in np.flatnonzero(~wanted.has(numbers)).tolist():
                delete_if_there(entries[place], self.answers.access)


def names_of(answers: Selection) -> Names:
    """The names of all images of an output: they are looked at once, eight bytes each."""
    seen, shared = NumberSet(), set()
    for uris in _uris_that_hold(answers):
        stems, counts = np.unique(text_numbers([_stem(uri, answers.root) for uri in uris]), return_counts=True)
        shared |= set(stems[seen.has(stems) | (counts > 1)].tolist())
        seen.add(stems)
    return Names(answers.root, frozenset(shared))


def _uris_that_hold(answers: Selection) -> Iterator[list[str]]:
    """The answered images, each once, some at a time."""
    last = None
    for table in answers.tables(["image_uri", "class_name", "status", "score"]):
        column = table.filter(pc.not_equal(table["status"], "error"))["image_uri"]
        uris = [uri for uri in column.unique().to_pylist() if uri != last]
        if uris:
            last = uris[-1]
            yield uris


def _place(uri: str, root: str) -> str:
    """The image's path below the collection, or below nothing: never out of the format's folder."""
    place = coco.file_name(uri, root)
    if place == uri:
        place = store.path_in_store(uri)
    return "/".join(part for part in place.split("/") if part not in ("", ".", ".."))


def _stem(uri: str, root: str) -> str:
    return str(PurePosixPath(_place(uri, root)).with_suffix(""))
