"""What an archive's index says of one member, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from tlg.errors import StorageError

# What an image in a damaged archive, or a damaged archive itself, is quarantined as.
BROKEN = "broken_archive"


@dataclass(frozen=True)
class Place:
    """Where a member's bytes are. Of a zip `start` is its header's; of a Parquet file its row."""

    kind: Literal["zip", "tar", "parquet", "broken"]
    start: int = 0
    stored: int = 0  # bytes in the archive
    size: int = 0  # bytes when unpacked
    method: int = 0  # of a zip
    checksum: int = 0  # of a zip
    problem: str = ""

    def text(self) -> str:
        """As a run's notes keep it."""
        return f"{self.kind} {self.start} {self.stored} {self.size} {self.method} {self.checksum} {self.problem}"

    @staticmethod
    def of(text: str) -> Place:
        kind, *numbers, problem = text.split(" ", 6)
        start, stored, size, method, checksum = map(int, numbers)
        return Place(cast(Any, kind), start, stored, size, method, checksum, problem)


@dataclass(frozen=True)
class Member:
    """A file in an archive. Without a name it stands for the archive itself, of which something cannot be read."""

    name: str
    place: Place

    @property
    def size(self) -> int | None:
        return None if self.place.kind in ("broken", "parquet") else self.place.size


def broken(problem: str) -> Member:
    return Member("", Place("broken", problem=problem))


def damaged(uri: str, problem: str) -> StorageError:
    return StorageError(f"{uri}: {problem}", kind=BROKEN)
