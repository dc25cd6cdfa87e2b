"""Decoding that cannot hold up a replica: in processes of its own, where what takes too long is killed."""

from __future__ import annotations

import asyncio
import io
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from PIL import Image

from tlg import pictures
from tlg.pictures import Picture

AT_ONCE = 4
SECONDS = 20.0
logger = logging.getLogger("tlg.serve")


class Decoder:
    """At most `at_once` pictures at a time, none for longer than `seconds`."""

    def __init__(self, at_once: int = AT_ONCE, seconds: float = SECONDS):
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="decode")
        self._probe_thread = ThreadPoolExecutor(1, thread_name_prefix="probe")

    async def __call__(self, content: bytes, max_pixels: int) -> Picture:
        return await self._decoded(self._threads, content, max_pixels)

    async def works(self) -> bool:
        """Whether a real picture can be decoded just now, however many others wait."""
        try:
            picture = await self._decoded(self._probe_thread, _probe(), pictures.DEFAULT_MAX_PIXELS)
            return picture.pixels.shape == (2, 3, 3)
        except Exception:
            logger.exception("a plain picture cannot be decoded")
            return False

    async def _decoded(self, threads: ThreadPoolExecutor, content: bytes, max_pixels: int) -> Picture:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, pictures.guarded_decode, content, max_pixels, self._seconds)


@cache
def _probe() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 100, 50)).save(stream, "JPEG")
    return stream.getvalue()
