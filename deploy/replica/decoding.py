"""Decoding that cannot hold up a replica: what takes too long is given up, and its place taken by the next picture."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import threading
from functools import cache

from PIL import Image

from tlg import pictures
from tlg.errors import InputError
from tlg.pictures import Picture

AT_ONCE = 4
SECONDS = 20.0
logger = logging.getLogger("tlg.serve")


class Decoder:
    """At most `at_once` pictures at a time, none for longer than `seconds`. Use it on one event loop.

    A thread cannot be killed: one that was given up works on for nobody. When there are as many of these as places,
    the process `is_stuck` and should be replaced.
    """

    def __init__(self, at_once: int = AT_ONCE, seconds: float = SECONDS):
        self._at_once, self._seconds = at_once, seconds
        self._places = asyncio.Semaphore(at_once)
        self._given_up: set[threading.Thread] = set()

    async def __call__(self, content: bytes, max_pixels: int) -> Picture:
        async with self._places:
            return await self._decoded(content, max_pixels)

    async def works(self) -> bool:
        """Whether a real picture can be decoded just now, however many others wait."""
        try:
            return (await self._decoded(_probe(), pictures.DEFAULT_MAX_PIXELS)).pixels.shape == (2, 3, 3)
        except Exception:
            logger.exception("a plain picture cannot be decoded")
            return False

    @property
    def is_stuck(self) -> bool:
        self._given_up = {thread for thread in self._given_up if thread.is_alive()}
        return len(self._given_up) >= self._at_once

    async def _decoded(self, content: bytes, max_pixels: int) -> Picture:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Picture] = loop.create_future()

        def settle(picture: Picture | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            elif picture is not None:
                done.set_result(picture)

        def decode() -> None:
            try:
                outcome: tuple[Picture | None, BaseException | None] = pictures.decode(content, max_pixels), None
            except BaseException as error:  # it belongs to whoever waits
                outcome = None, error
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(settle, *outcome)

        thread = threading.Thread(target=decode, daemon=True, name="decode")
        thread.start()
        try:
            return await asyncio.wait_for(done, self._seconds)
        except asyncio.TimeoutError:
            self._given_up.add(thread)
            raise InputError(f"the image was not decoded within {self._seconds:g} s", "too_slow") from None


@cache
def _probe() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 100, 50)).save(stream, "JPEG")
    return stream.getvalue()
