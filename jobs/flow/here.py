"""The stages without Ray: threads of this process fetch and decode, processes beside it hold the model.

A picture that kills its process kills no run: the process is started again and given the same tables, and the logbook,
which is here, knows which pictures were there when it died. Processes of one core each answer more than one of many.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from jobs.flow.here_process import AT_ONCE, Ended, Failed, as_bytes, as_table
from jobs.flow.logbook import Logbook
from jobs.flow.room import cores, processes
from jobs.flow.stages import Stages
from jobs.flow.work import Work
from tlg.spec import AnnotateSpec

R = TypeVar("R")
# Threads that fetch and decode, each with a decoder's process of its own.
MOST_FETCHERS = 4
# Tables of decoded pictures that wait, besides the one that each thread is making.
TABLES_AHEAD = 2
# Not `python -m`, which would look for modules in the folder that the user is in.
PROGRAM = """
import sys
sys.path[:] = sys.argv[4:]
from jobs.flow.here_process import main
main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


class WorkerError(Exception):
    """Where in the worker's process an error was raised."""


class Here:
    """See `jobs.flow.stages.Executor`. A model is loaded from the moment this is made."""

    def __init__(self, spec: AnnotateSpec):
        self._spec = spec
        self._book = Logbook()
        self._workers = [Worker(spec, self._book, "worker-0")]

    def introduce(self, stages: Stages) -> None:
        """Before anything is asked for: what the spec does not say. The exemplars are encoded from now on."""
        self._stages = stages
        for worker in self._workers:
            worker.introduce(stages)

    def receipts(self, work: Work, units: np.ndarray) -> Generator[pa.Table, None, None]:
        """See `jobs.flow.stages.Executor`."""
        self._start(processes(self._spec.workers, work.count))
        with Fetching(self._stages, work, units, self._book) as tables:
            for table in _first_alone(tables):
                while all(len(worker.at_work) == AT_ONCE for worker in self._workers):
                    yield from self._receipts(None)
                min(self._workers, key=lambda worker: len(worker.at_work)).give(table)
                yield from self._receipts(0)
            while any(worker.at_work for worker in self._workers):
                yield from self._receipts(None)

    def call(self, action: Callable[..., R], *arguments: Any) -> R:
        return action(*arguments)

    def close(self) -> None:
        for worker in self._workers:
            worker.end()

    def _start(self, count: int) -> None:
        while len(self._workers) < count:
            self._workers.append(Worker(self._spec, self._book, f"worker-{len(self._workers)}"))
            self._workers[-1].introduce(self._stages)

    def _receipts(self, seconds: float | None) -> Iterator[pa.Table]:
        """A message of every worker that has one, waited for so long; a worker that died begins its tables anew."""
        answering = {worker.connection: worker for worker in self._workers if worker.at_work}
        for connection in wait(list(answering), seconds):
            worker = answering[connection]  # type: ignore[index]
            try:
                receipts = worker.receipts()
            except (EOFError, OSError):
                self._workers[self._workers.index(worker)] = worker.started_again()
                continue
            if receipts is not None:
                yield receipts


class Worker:
    """A process that holds the model. `at_work` are the tables that it was given and has not ended with."""

    def __init__(self, spec: AnnotateSpec, book: Logbook, name: str):
        self._spec, self._book, self._name = spec, book, name
        self.at_work: deque[pa.Table] = deque()
        self.connection, tables = Pipe()
        self._notes, notes = Pipe()
        # As Ray does: as many threads as the spec gives a worker.
        environment = {"OMP_NUM_THREADS": str(max(1, int(spec.workers.cpus))), **os.environ}
        files = [tables.fileno(), notes.fileno()]
        command = [sys.executable, "-c", PROGRAM, name, *map(str, files), *map(os.path.abspath, sys.path)]
        with tables, notes:
            # A session of its own: Ctrl-C is for whoever asks.
            self._process = subprocess.Popen(
                command, pass_fds=files, start_new_session=True, stdin=subprocess.DEVNULL, env=environment
            )
        threading.Thread(target=_answer_notes, args=(self._notes, book), daemon=True).start()
        with contextlib.suppress(OSError):  # as in `give`
            self.connection.send((spec.model, spec.workers.device))

    def introduce(self, stages: Stages) -> None:
        self._stages = stages
        # In a thread of its own: it listens as soon as Python has started.
        self._introduction = threading.Thread(target=self._introduce, daemon=True)
        self._introduction.start()

    def _introduce(self) -> None:
        with contextlib.suppress(OSError):  # as in `give`
            self.connection.send_bytes(pickle.dumps(self._stages.worker_arguments()))

    def give(self, table: pa.Table) -> None:
        self.at_work.append(table)
        self._introduction.join()
        with contextlib.suppress(OSError):  # its death is noticed where its answers are waited for
            self.connection.send_bytes(as_bytes(table))

    def receipts(self) -> pa.Table | None:
        """The next ones; None where the oldest table ended. EOFError or OSError where the process is no more."""
        answer = self.connection.recv()
        if isinstance(answer, Ended):
            self.at_work.popleft()
            return None
        if isinstance(answer, Failed):
            raise answer.error from WorkerError(answer.trace)
        return as_table(answer)

    def started_again(self) -> Worker:
        """Another process in this one's place, given the same tables."""
        self.end()
        other = Worker(self._spec, self._book, self._name)
        other.introduce(self._stages)
        for table in self.at_work:
            other.give(table)
        return other

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()
        # The thread that answers notes sees its end closed, and closes ours.


def _answer_notes(connection: Connection, book: Logbook) -> None:
    with connection:
        while True:
            try:
                method, arguments = connection.recv()
                connection.send(getattr(book, method)(*arguments))
            except (EOFError, OSError):
                return


class Fetching:
    """`with` it: the tables of decoded pictures of some units, as threads have them ready."""

    def __init__(self, stages: Stages, work: Work, units: np.ndarray, book: Logbook):
        self._fetcher = stages.fetcher(work, book)
        self._units = iter(units.tolist())
        self._ready: queue.Queue[pa.Table | BaseException | None] = queue.Queue(TABLES_AHEAD)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        count = min(MOST_FETCHERS, max(1, cores() - 1), len(units))
        self._threads = [threading.Thread(target=self._fetch, daemon=True) for _ in range(count)]

    def __enter__(self) -> Iterator[pa.Table]:
        for thread in self._threads:
            thread.start()
        return self._tables()

    def __exit__(self, *_: object) -> None:
        """The threads are not waited for: one may be at a store that does not answer."""
        self._ended.set()

    def _tables(self) -> Iterator[pa.Table]:
        running = len(self._threads)
        while running:
            ready = self._ready.get()
            if isinstance(ready, BaseException):
                raise ready
            if ready is None:
                running -= 1
            else:
                yield ready

    def _fetch(self) -> None:
        last: BaseException | None = None
        try:
            while (unit := self._next_unit()) is not None:
                for table in self._fetcher.fetch(*unit):
                    if not self._put(table):
                        return
        except BaseException as error:  # it is raised where the tables are taken
            last = error
        self._put(last)

    def _next_unit(self) -> list[int] | None:
        with self._lock:
            return next(self._units, None)

    def _put(self, ready: pa.Table | BaseException | None) -> bool:
        """False where nobody takes tables any more."""
        while not self._ended.is_set():
            try:
                self._ready.put(ready, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def _first_alone(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The first picture goes ahead of its table: its answer shows that all is well."""
    for table in tables:
        yield table.slice(0, 1)
        if len(table) > 1:
            yield table.slice(1)
        break
    yield from tables
