"""Batches that form while the network is busy.

Serve's own `serve.batch` closes a batch some milliseconds after its first image even while the network is at work on
another, so that under load many small batches wait in line. Here what waits is taken when the network is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Hands waiting items to `run`, at most `size` at once and one batch at a time, in the order they came.

    An idle batcher waits `wait_seconds` for company before it runs a single item. Create it on the event loop.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], size: int, wait_seconds: float
    ) -> None:
        self._run, self._size, self._wait_seconds = run, size, wait_seconds
        self._waiting: asyncio.Queue[tuple[Item, asyncio.Future[Result]]] = asyncio.Queue()
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def __call__(self, item: Item) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((item, future))
        return await future

    @property
    def waiting(self) -> int:
        return self._waiting.qsize()

    async def _work(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            if self._waiting.empty() and self._size > 1:
                await asyncio.sleep(self._wait_seconds)
            while len(batch) < self._size and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            # Who has gone away meanwhile (a time-out, a closed connection) is not worked for.
            batch = [(item, future) for item, future in batch if not future.done()]
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"found {len(results)} results for {len(batch)} items, expected as many")
        except Exception as error:  # It belongs to those who wait; the batcher works on
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
