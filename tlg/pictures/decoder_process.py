"""The process that `tlg.pictures.guarded` has pictures decoded in; it is given its end of a socket.

It ends with its socket, and by an alarm when a picture takes too long, even where whoever asked is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import mmap
import os
import signal
import socket
import time

import numpy as np

from tlg.allocation import keep_freed_memory
from tlg.errors import InputError
from tlg.pictures import decoding
from tlg.pictures.guarded import ANSWER, READY, REPLY, REQUEST, SIZE, received

# Whoever asked stops waiting before the alarm goes off.
ALARM_AFTER_SECONDS = 2
# Pictures of 12 megapixels are decoded into memory that is there already.
KEPT_BYTES = 36_000_000


class Full(Exception):
    """The memory holds no further picture."""


class SharedMemory:
    """Memory that the other process maps as well, used again and again: new pages would cost more than to decode.

    Pictures lie in it one after the other. What a large picture needed is not kept.
    """

    def __init__(self) -> None:
        self.file: int | None = None
        self._map = mmap.mmap(-1, 1)
        self.is_new = False
        self.used = 0

    def __call__(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """An array behind those before it."""
        start, size = self.used, math.prod(shape) * np.dtype(dtype).itemsize
        if start + size > len(self._map) or (not start and len(self._map) > max(KEPT_BYTES, size)):
            if start:
                raise Full
            self._renew(max(KEPT_BYTES, size))
        self.used += size
        return np.frombuffer(self._map, dtype, math.prod(shape), start).reshape(shape)

    def _renew(self, size: int) -> None:
        if self.file is not None:
            os.close(self.file)
        self.file = os.memfd_create("pixels")
        os.ftruncate(self.file, size)
        self._map = mmap.mmap(self.file, size)
        self.is_new = True


def answered(shared: SharedMemory, is_mask: bool, max_pixels: int, content: bytes) -> bytes:
    """The answer to one picture, whose pixels are in the memory."""
    began, start = time.perf_counter(), shared.used
    shape: tuple[int, ...] = (0, 0, 0, 0, 0)
    text = b""
    try:
        if is_mask:
            pixels = decoding.decode_mask(content, shared)
            shape = (*pixels.shape, 1, *pixels.shape)
        else:
            picture = decoding.decode(content, max_pixels, shared)
            shape = (*picture.pixels.shape, picture.height, picture.width)
    except (InputError, MemoryError) as error:
        shared.used = start
        text = json.dumps([error.kind if isinstance(error, InputError) else "", str(error)]).encode()
    return ANSWER.pack(*shape, time.perf_counter() - began, len(text)) + text


def answer(
    connection: socket.socket, shared: SharedMemory, is_mask: bool, max_pixels: int, contents: list[bytes]
) -> None:
    """Answer the first of some pictures, as many as there is memory for."""
    shared.used = 0
    answers = []
    with contextlib.suppress(Full):
        for content in contents:
            answers.append(answered(shared, is_mask, max_pixels, content))
    together = b"".join(answers)
    files = [shared.file] if shared.is_new and shared.file is not None else []
    socket.send_fds(connection, [REPLY.pack(len(answers), len(together)) + together], files)
    shared.is_new = False


def main(socket_file: int) -> None:
    keep_freed_memory(KEPT_BYTES)
    shared = SharedMemory()
    with socket.socket(fileno=socket_file) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(READY)
        while (request := received(connection, REQUEST.size)) is not None:
            is_mask, max_pixels, seconds, count, size = REQUEST.unpack(request)
            sizes = received(connection, count * SIZE.size)
            together = received(connection, size)
            if sizes is None or together is None:
                return
            signal.alarm(math.ceil(seconds) + ALARM_AFTER_SECONDS)
            answer(connection, shared, is_mask, max_pixels, parted(together, sizes))
            signal.alarm(0)


def parted(together: bytes, packed_sizes: bytes) -> list[bytes]:
    sizes = [size for (size,) in SIZE.iter_unpack(packed_sizes)]
    ends = itertools.accumulate(sizes)
    return [together[end - size : end] for size, end in zip(sizes, ends, strict=True)]
