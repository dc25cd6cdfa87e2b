"""What a source of weights is: something that turns an address into a file. Nothing inside a file is ever run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class WeightFile:
    """A file of weights as it came; its name says in which format it is."""

    name: str
    content: bytes


class Source(Protocol):
    """Files at addresses of one kind. `here` and `licence` open no connection and import no torch."""

    def here(self, address: str) -> bool:
        """Whether `read` needs no download."""
        ...

    def read(self, address: str) -> WeightFile:
        """The file; CheckpointError says why it cannot be had and what the way out is."""
        ...

    def licence(self, address: str) -> str | None:
        """The licence that the file's publisher states, where it can be read off."""
        ...
