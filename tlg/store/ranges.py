"""A stored object as a file that is read by ranges: what a Parquet reader needs to take only its columns."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

ReadRange = Callable[[int, int], bytes]


class RangeFile(io.RawIOBase):
    """A seekable, readable file over `read_range(start, length)` of an object with `size` bytes."""

    def __init__(self, size: int, read_range: ReadRange):
        super().__init__()
        self._size, self._read_range = size, read_range
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def size(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}: expected a place at or after the file's start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._next(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, size: int | None = -1) -> bytes:
        return self._next(self._size if size is None or size < 0 else size)

    def _next(self, length: int) -> bytes:
        length = min(length, max(0, self._size - self._position))
        content = self._read_range(self._position, length) if length else b""
        self._position += len(content)
        return content
