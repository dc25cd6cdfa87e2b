"""What a store has to offer. A package of its own brings one under the entry point `tlg.stores`, named by scheme."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tlg.errors import StorageError
from tlg.store.places import Access, Entry, scheme

# Called with the address and the reason of what a listing leaves out.
LeftOut = Callable[[str, str], None]


class Store:
    """One attempt at each thing; every failure is a StorageError. What a store cannot do, it refuses by itself."""

    def __init__(self, access: Access):
        self.access = access

    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        raise _refusal(uri, "reads nothing")

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        raise _refusal(uri, "reads no ranges")

    def open_input(self, uri: str) -> BinaryIO:
        raise _refusal(uri, "reads no ranges")

    def stat(self, uri: str) -> Entry:
        """The object with its version and size, unread."""
        raise _refusal(uri, "knows no versions of its objects")

    def size(self, uri: str) -> int:
        raise _refusal(uri, "knows no sizes")

    def exists(self, uri: str) -> bool:
        raise _refusal(uri, "cannot be asked what is there")

    def is_folder(self, uri: str) -> bool:
        return False

    def entries(self, folder: str, left_out: LeftOut) -> Iterator[tuple[str, Entry]]:
        """Everything below `folder`, each with its name as seen from there."""
        raise _refusal(folder, "cannot be listed")

    def write(self, uri: str, content: bytes) -> None:
        raise _refusal(uri, "is only read")

    def upload(self, file: Path, uri: str) -> None:
        raise _refusal(uri, "is only read")

    def create(self, uri: str, content: bytes) -> bool:
        """Write only if nothing is there, False if something is: atomic, or refused."""
        raise _refusal(uri, "cannot keep two writers apart (no exclusive create), so it holds no output")

    def delete(self, uri: str) -> None:
        raise _refusal(uri, "is only read")

    def delete_folder(self, uri: str) -> None:
        raise _refusal(uri, "is only read")


class WholeStore(Store):
    """For a store that can give no part of an object: what asks for a part costs a read of it all."""

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        return self.read(uri)[start : start + length]

    def open_input(self, uri: str) -> BinaryIO:
        return io.BytesIO(self.read(uri))

    def size(self, uri: str) -> int:
        return len(self.read(uri))


def _refusal(uri: str, reason: str) -> StorageError:
    return StorageError(f"{uri}: a store of {scheme(uri)}:// {reason}; use another store for this")
