"""The one policy for stores that fail for a while. The libraries' own retries are off, so nothing multiplies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential_jitter

from tlg.errors import StorageError

R = TypeVar("R")
ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
_growing = wait_exponential_jitter(initial=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS, jitter=FIRST_PAUSE_SECONDS)


def patiently(action: Callable[[], R], seconds: float) -> R:
    """`action()`, tried again with growing pauses while its store may recover; no attempt begins after `seconds`."""
    began = time.monotonic()
    try:
        return action()  # nearly always: the policy costs as much as reading a small file
    except StorageError as error:
        if not error.transient:
            raise
        failed: StorageError | None = error

    def again() -> R:
        nonlocal failed
        if failed is None:
            return action()
        first, failed = failed, None
        raise first

    policy = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, StorageError) and error.transient),
        wait=_pause,
        stop=stop_before_delay(seconds - (time.monotonic() - began)) | stop_after_attempt(ATTEMPTS),
        sleep=sleep,
        reraise=True,
    )
    return policy(again)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def _pause(state: RetryCallState) -> float:
    """Growing, and never shorter than what the server asked for."""
    error = state.outcome.exception() if state.outcome else None
    wait = error.retry_after if isinstance(error, StorageError) else 0.0
    return max(wait, _growing(state))
