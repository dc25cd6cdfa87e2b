"""Small files with a time in them: when content was last used, and who removes or renames something just now."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.endpoint.problems import ProblemError
from tlg import store
from tlg.errors import StorageError

# A removal takes seconds; a claim this old was left by a process that died.
ABANDONED_SECONDS = 300.0
PATIENCE_SECONDS = 10.0


class Marks:
    """Content is named by its digest. A claim keeps two processes from doing one thing at a time."""

    def __init__(self, uri: str, access: store.Access):
        self.uri, self.access = uri, access

    def mark_used(self, digest: str) -> None:
        store.write(self._used(digest), _now(), self.access)

    def last_used(self, digest: str) -> float | None:
        return self._time_in(self._used(digest))

    def forget_use(self, digest: str) -> None:
        delete(self._used(digest), self.access)

    def claim_removal(self, digest: str) -> bool:
        claim = self._removal(digest)
        if store.create(claim, _now(), self.access):
            return True
        claimed_at = self._time_in(claim)
        if claimed_at is None or time.time() - claimed_at > ABANDONED_SECONDS:
            delete(claim, self.access)
        return False

    def end_removal(self, digest: str) -> None:
        delete(self._removal(digest), self.access)

    def await_removal(self, digest: str) -> None:
        claim = self._removal(digest)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            claimed_at = self._time_in(claim)
            if claimed_at is None:
                return
            if time.time() - claimed_at > ABANDONED_SECONDS:
                delete(claim, self.access)
                return
            if time.monotonic() > deadline:
                raise ProblemError(503, "busy", "this content is being removed; put it again", {"Retry-After": "5"})
            time.sleep(0.1)

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Within, nobody else changes under a condition what the name means."""
        claim = f"{self.uri}/naming/{name}.json"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not store.create(claim, _now(), self.access):
            claimed_at = self._time_in(claim)
            if claimed_at is not None and time.time() - claimed_at > ABANDONED_SECONDS:
                delete(claim, self.access)
            if time.monotonic() > deadline:
                raise ProblemError(503, "busy", f"'{name}' is being changed; ask again", {"Retry-After": "5"})
            time.sleep(0.1)
        try:
            yield
        finally:
            delete(claim, self.access)

    def _time_in(self, uri: str) -> float | None:
        """The time that a mark carries; None where there is no mark."""
        try:
            return float(json.loads(store.read(uri, self.access))["at"])
        except StorageError as error:
            if error.missing:
                return None
            raise
        except (ValueError, KeyError, TypeError):
            return None

    def _used(self, digest: str) -> str:
        return f"{self.uri}/used/{digest}.json"

    def _removal(self, digest: str) -> str:
        return f"{self.uri}/sweeping/{digest}.json"


def delete(uri: str, access: store.Access) -> None:
    """Nothing there: somebody else was faster."""
    try:
        store.delete(uri, access)
    except StorageError as error:
        if not error.missing:
            raise


def _now() -> bytes:
    return json.dumps({"at": time.time()}).encode()
