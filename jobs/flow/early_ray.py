"""Ray, started beside whatever else has to be done before the first unit of work."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from types import TracebackType

from jobs.flow import pipeline
from jobs.flow.vitals import Vitals
from tlg.spec import WorkersSpec


class EarlyRay:
    """A `ray_session` in a thread of its own, which stays until its end: Ray's processes die with the thread that
    started them. Whoever leaves it leaves the session."""

    def __init__(self, address: str | None, workers: WorkersSpec):
        self._begun: Future[Vitals] = Future()
        self._left_with: Future[BaseException | None] = Future()
        self._ended_with: BaseException | None = None
        self._thread = threading.Thread(target=self._hold, args=(address, workers), daemon=True)
        self._thread.start()

    def vitals(self) -> Vitals:
        """As soon as Ray is there; raises what kept it from starting."""
        found = self._begun.result()
        pipeline.catch_signals_again()
        return found

    def look_up(self) -> None:
        """Now and then while Ray may be starting: it takes over signals that are the main thread's."""
        if self._begun.done():
            pipeline.catch_signals_again()

    def __enter__(self) -> EarlyRay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left_with.set_result(error)
        # A cluster that does not answer is not waited for.
        self._thread.join(None if self._begun.done() else pipeline.SHUTDOWN_SECONDS)
        if self._ended_with is not None and self._ended_with is not error:
            raise self._ended_with from error

    def _hold(self, address: str | None, workers: WorkersSpec) -> None:
        try:
            with pipeline.ray_session(address, workers) as vitals:
                self._begun.set_result(vitals)
                error = self._left_with.result()
                if error is not None:
                    raise error
        except BaseException as error:
            if self._begun.done():
                self._ended_with = error
            else:
                self._begun.set_exception(error)
