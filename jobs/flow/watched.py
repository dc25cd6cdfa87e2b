"""Tables that may stop coming: whoever waits for them looks up now and then, and gives up after a long silence."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from tlg.errors import ClusterError

# A batch of the largest pictures on a slow worker takes minutes; a cluster may need as many to start a node.
STALL_SECONDS = 1800.0
LOOK_SECONDS = 1.0
# After a table that is not wanted any more the source is closed; nobody waits longer for that.
CLOSE_SECONDS = 5.0
T = TypeVar("T")


class Stalled(ClusterError):
    """Neither a table nor a sign of life for a long time."""


class _Ended:
    def __init__(self, error: BaseException | None = None):
        self.error = error


class _Source(Generic[T]):
    """A thread that takes what comes, so that the one that waits is free to look up."""

    def __init__(self, tables: Iterator[T]):
        self.ready: queue.Queue[T | _Ended] = queue.Queue(1)
        self._tables = tables
        self._is_wanted = True
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_wanted = False
        self._thread.join(CLOSE_SECONDS)

    def _take(self) -> None:
        ended = _Ended()
        try:
            for table in self._tables:
                if not self._put(table):
                    break
        except BaseException as error:  # raised where the tables are waited for
            ended = _Ended(error)
        finally:
            close = getattr(self._tables, "close", None)
            if close is not None:
                with suppress(Exception):  # what went wrong is known, or nobody asks any more
                    close()
        self._put(ended)

    def _put(self, ready: T | _Ended) -> bool:
        while self._is_wanted:
            with suppress(queue.Full):
                self.ready.put(ready, timeout=0.1)
                return True
        return False


def watched(
    tables: Iterator[T], check: Callable[[], object], seconds_silent: Callable[[], float]
) -> Generator[T, None, None]:
    """The tables as they come. `check` raises where no more can come, `seconds_silent` tells how long ago the workers
    gave a sign of life."""
    source = _Source(tables)
    came = time.monotonic()
    try:
        while True:
            try:
                ready = source.ready.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                check()
                if time.monotonic() - came > STALL_SECONDS and seconds_silent() > STALL_SECONDS:
                    raise Stalled(
                        f"no answer and no sign of life from Ray's workers for {STALL_SECONDS / 60:g} minutes; "
                        "what is committed stays, look after the cluster and run again"
                    ) from None
                continue
            if isinstance(ready, _Ended):
                if ready.error is not None:
                    raise ready.error
                return
            came = time.monotonic()
            yield ready
    finally:
        source.close()
