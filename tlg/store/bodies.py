"""The body of an answer: no more of it than allowed, and no slower than can be waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tlg.errors import StorageError

CONNECT_SECONDS = 5.0
# A transfer without any progress for so long counts as failed.
STALL_SECONDS = 10.0
# A transfer that drips is cut off too: it may take so long, and a second more for so many bytes received.
GRACE_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 64 * 2**10
CHUNK_BYTES = 2**20


def whole(
    uri: str,
    chunks: Iterable[bytes],
    max_bytes: int | None = None,
    expected: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """All chunks as one. `expected` is the length that the store announced."""
    refuse_larger(uri, expected, max_bytes)
    content = bytearray()
    start = clock()
    for chunk in chunks:
        content += chunk
        refuse_larger(uri, len(content), max_bytes)
        taken = clock() - start
        if taken > GRACE_SECONDS + len(content) / SLOWEST_BYTES_PER_SECOND:
            raise StorageError(f"{uri}: too slow, {len(content):,} bytes in {taken:.0f} s", transient=True)
    if expected is not None and len(content) != expected:
        raise StorageError(f"{uri}: received {len(content)} of {expected} bytes", transient=True)
    return bytes(content)


def refuse_larger(uri: str, size: int | None, max_bytes: int | None) -> None:
    if size is not None and max_bytes is not None and size > max_bytes:
        raise StorageError(
            f"{uri}: {size:,} bytes, more than the {max_bytes:,} that are read of one object", kind="too_large"
        )
