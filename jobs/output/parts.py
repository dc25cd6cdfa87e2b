"""A format in files of so many images each, of which only those are written whose shards have changed.

Each group of shards has files of its own. New shards make a new group; groups of like size are merged, so that a
thousand nights do not leave a thousand files and a night does not write what a thousand nights have answered.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from jobs.output import marker as markers
from jobs.output import shards
from jobs.output.catalogue import Catalogue
from jobs.output.index import Index
from jobs.output.marker import Marker
from tlg import store

Rows = list[dict[str, Any]]
# Which rows of an output a file takes.
Choice = Callable[[Iterator[pa.Table]], Iterator[pa.Table]]
# Writes the answers of some images into a folder: one file or several, whose names begin with the one given.
WritePart = Callable[[Path, str, Iterable[Rows]], object]


@dataclass
class Group:
    """Shards (number, size) and the files (name, size) that hold their answers."""

    shards: list[list[int]]
    images: int
    files: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Parts:
    """Where a format's files lie: `stem.json` in `folder`, or `stem-00000.json`, ... where there are several.

    `suffix` is what their names end with, where it is not `.json`.
    """

    folder: str
    stem: str
    images_per_file: int
    columns: Sequence[str]
    write_part: WritePart
    suffix: str = ".json"

    def write(self, catalogue: Catalogue, chosen: Choice) -> list[str]:
        """All that is chosen, whatever was there before."""
        groups = self._groups(catalogue.shards, [], catalogue)
        self._write_groups(catalogue, groups, chosen)
        self._delete_others(groups, catalogue.access)
        return self._uris(groups)

    def update(self, catalogue: Catalogue, name: str, settings: str) -> list[str]:
        """What has changed since the marker called `name` was written; returns what was written."""
        output, access = catalogue.output, catalogue.access
        marker = markers.read(output, name, access)
        known = self._still_there(marker, settings, access)
        if (
            marker
            and marker.state == catalogue.fingerprint
            and marker.settings == settings
            and self._is_all(known, marker)
        ):
            return []
        groups = self._groups(catalogue.shards, known, catalogue)
        filled = [group for group in groups if group.files]
        fresh = [group for group in groups if not group.files]
        # What is about to be overwritten or deleted is not claimed any more, should this run be killed.
        Marker("", settings, _made(filled)).write(output, name, access)
        self._write_groups(catalogue, groups, iter)
        self._delete_others(groups, access)
        Marker(catalogue.fingerprint, settings, _made(groups)).write(output, name, access)
        return self._uris(fresh)

    def _still_there(self, marker: Marker | None, settings: str, access: store.Access) -> list[Group]:
        """Groups of a marker whose files all lie there as they were written."""
        if marker is None or marker.settings != settings:
            return []
        there = {
            entry.uri.rsplit("/", 1)[1]: entry.size for entry in store.listed(self.folder, f"{self.stem}*", access)
        }
        groups = [Group(**values) for values in marker.made["groups"]]
        return [group for group in groups if all(there.get(name) == size for name, size in group.files)]

    def _is_all(self, known: list[Group], marker: Marker) -> bool:
        return len(known) == len(marker.made["groups"])

    def _groups(self, indexes: list[Index], known: list[Group], catalogue: Catalogue) -> list[Group]:
        """Which shards go into files together; groups that keep their files come first."""
        if catalogue.image_count() <= self.images_per_file:
            return [_group(indexes, catalogue)] if indexes else []
        present = {(index.shard.number, index.shard.size): index for index in indexes}
        groups = [group for group in known if all((number, size) in present for number, size in group.shards)]
        groups = [group for group in groups if all(self._number(name) is not None for name, _ in group.files)]
        grouped = {(number, size) for group in groups for number, size in group.shards}
        free = [index for key, index in present.items() if key not in grouped]
        waiting = catalogue.image_count(free)
        for group in sorted(groups, key=lambda group: group.images) if free else ():
            if group.images > 2 * waiting or group.images + waiting > self.images_per_file:
                break
            groups.remove(group)
            free += [present[number, size] for number, size in group.shards]
            waiting += group.images
        return groups + self._filled(sorted(free, key=lambda index: index.shard.number), catalogue)

    def _filled(self, free: list[Index], catalogue: Catalogue) -> list[Group]:
        """Shards in their order, as many together as fit into a file."""
        groups: list[list[Index]] = []
        room = 0
        for index in free:
            images = catalogue.image_count([index])
            if not groups or images > room:
                groups.append([])
                room = self.images_per_file
            groups[-1].append(index)
            room -= images
        return [_group(group, catalogue) for group in groups]

    def _write_groups(self, catalogue: Catalogue, groups: list[Group], chosen: Choice) -> None:
        """Give every group that has none its files."""
        taken = {self._number(name) for group in groups for name, _ in group.files}
        numbered = (f"{self.stem}-{number:05d}" for number in count() if number not in taken)
        is_single = len(groups) == 1 and catalogue.image_count() <= self.images_per_file
        names = iter([self.stem]) if is_single else numbered
        by_number = {index.shard.number: index for index in catalogue.shards}
        for group in groups:
            if group.files:
                continue
            indexes = [by_number[number] for number, _ in group.shards]
            answers = rows_by_image(chosen(catalogue.tables(self.columns, indexes)))
            while first := next(answers, None):
                part = chain([first], islice(answers, self.images_per_file - 1))
                group.files += self._write_files(next(names), part, catalogue.access)

    def _write_files(self, name: str, part: Iterable[Rows], access: store.Access) -> list[list[Any]]:
        with tempfile.TemporaryDirectory() as scratch:
            self.write_part(Path(scratch), name, part)
            files = sorted(Path(scratch).iterdir())
            for file in files:
                store.upload(file, f"{self.folder}/{file.name}", access)
            return [[file.name, file.stat().st_size] for file in files]

    def _number(self, name: str) -> int | None:
        """Of a file that is one of several."""
        match = re.match(rf"{re.escape(self.stem)}-(\d{{5,}})", name)
        return int(match[1]) if match else None

    def _delete_others(self, groups: list[Group], access: store.Access) -> None:
        ours = set(self._uris(groups))
        for entry in store.listed(self.folder, f"{self.stem}*{self.suffix}", access):
            if f"{self.folder}/{entry.uri.rsplit('/', 1)[1]}" not in ours:
                store.delete(entry.uri, access)

    def _uris(self, groups: list[Group]) -> list[str]:
        return [f"{self.folder}/{name}" for group in groups for name, _ in group.files]


def as_text(write: Callable[[IO[str], Iterable[Rows]], object], suffix: str = ".json") -> WritePart:
    """A part that is one text file."""

    def write_part(folder: Path, name: str, part: Iterable[Rows]) -> None:
        with (folder / f"{name}{suffix}").open("w", encoding="utf-8") as stream:
            write(stream, part)

    return write_part


def rows_by_image(tables: Iterable[pa.Table]) -> Iterator[Rows]:
    """The rows of one image after the other; they follow each other, though not always in one table."""
    waiting: Rows = []
    for table in tables:
        for batch in table.to_batches(shards.ROWS_AT_ONCE):
            for row in batch.to_pylist():
                if waiting and row["image_id"] != waiting[0]["image_id"]:
                    yield waiting
                    waiting = []
                waiting.append(row)
    if waiting:
        yield waiting


def _group(indexes: Sequence[Index], catalogue: Catalogue) -> Group:
    return Group([[index.shard.number, index.shard.size] for index in indexes], catalogue.image_count(indexes))


def _made(groups: list[Group]) -> dict[str, Any]:
    return {"groups": [asdict(group) for group in groups]}
