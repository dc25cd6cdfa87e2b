"""The process that `tlg.pictures.guarded` has pictures decoded in; it is given its end of a socket.

It ends with its socket, and by an alarm when a picture takes too long, even where whoever asked is gone.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import signal
import socket

import numpy as np

from tlg.allocation import keep_freed_memory
from tlg.errors import InputError
from tlg.pictures import decoding
from tlg.pictures.guarded import ANSWER, READY, REQUEST, received

# Whoever asked stops waiting before the alarm goes off.
ALARM_AFTER_SECONDS = 2
# Pictures of 12 megapixels are decoded into memory that is there already.
KEPT_BYTES = 36_000_000


class SharedMemory:
    """Memory that the other process maps as well, used for picture after picture: new pages would cost more than to
    decode. What a large picture needed is not kept."""

    def __init__(self) -> None:
        self.file: int | None = None
        self._map = mmap.mmap(-1, 1)
        self.is_new = False

    def __call__(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """An array at the memory's beginning; one that was given before is written over."""
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        if not needed <= len(self._map) <= max(KEPT_BYTES, needed):
            self._renew(max(KEPT_BYTES, needed))
        return np.frombuffer(self._map, dtype, math.prod(shape)).reshape(shape)

    def _renew(self, size: int) -> None:
        if self.file is not None:
            os.close(self.file)
        self.file = os.memfd_create("pixels")
        os.ftruncate(self.file, size)
        self._map = mmap.mmap(self.file, size)
        self.is_new = True


def answer(connection: socket.socket, shared: SharedMemory, is_mask: bool, max_pixels: int, content: bytes) -> None:
    try:
        if is_mask:
            pixels = decoding.decode_mask(content, shared)
            height, width = pixels.shape
        else:
            picture = decoding.decode(content, max_pixels, shared)
            pixels, height, width = picture.pixels, picture.height, picture.width
    except (InputError, MemoryError) as error:
        kind = error.kind if isinstance(error, InputError) else ""
        text = json.dumps([kind, str(error)]).encode()
        connection.sendall(ANSWER.pack(0, 0, 0, 0, 0, len(text)) + text)
        return
    header = ANSWER.pack(*(*pixels.shape, 1)[:3], height, width, 0)
    files = [shared.file] if shared.is_new and shared.file is not None else []
    socket.send_fds(connection, [header], files)
    shared.is_new = False


def main(socket_file: int) -> None:
    keep_freed_memory(KEPT_BYTES)
    shared = SharedMemory()
    with socket.socket(fileno=socket_file) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(READY)
        while (request := received(connection, REQUEST.size)) is not None:
            is_mask, max_pixels, seconds, length = REQUEST.unpack(request)
            content = received(connection, length)
            if content is None:
                return
            signal.alarm(math.ceil(seconds) + ALARM_AFTER_SECONDS)
            answer(connection, shared, is_mask, max_pixels, content)
            signal.alarm(0)
