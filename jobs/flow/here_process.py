"""The process that `jobs.flow.here` has pictures answered in; it is given its ends of two connections.

It ends with its connections, even where whoever asked is gone.
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from jobs.flow.logbook import NotesElsewhere
from jobs.flow.segment import loaded_model, started_worker

# Tables that are on their way to the process or in it, so that it never waits for the next.
AT_ONCE = 2


@dataclass(frozen=True)
class Ended:
    """All receipts of a table have been sent."""


@dataclass(frozen=True)
class Failed:
    """What ended the process, and where it was raised."""

    error: Exception
    trace: str


class NotesBehind(NotesElsewhere):
    """The Logbook of the process that asked."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def ask(self, method: str, *arguments: Any) -> Any:
        self._connection.send((method, arguments))
        return self._connection.recv()


def as_bytes(table: pa.Table) -> memoryview:
    """Of a slice only the slice, which pickle would not do."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def as_table(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


def main(name: str, tables_file: int, notes_file: int) -> None:
    tables, notes = Connection(tables_file), Connection(notes_file)
    model, device = tables.recv()
    waiting: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_receive, args=(tables, waiting), daemon=True).start()
    book = NotesBehind(notes)
    try:
        loaded = loaded_model(name, book, model, device)
        worker = started_worker(name, book, model=loaded, **pickle.loads(waiting.get()))
        while True:
            for receipts in worker(as_table(waiting.get())):
                tables.send(as_bytes(receipts).tobytes())
            tables.send(Ended())
    except Exception as error:  # whoever asked raises it
        tables.send(_failed(error))


def _receive(tables: Connection, waiting: queue.Queue[bytes]) -> None:
    """In a thread of its own, so that neither side waits to be heard while the other waits as well."""
    while True:
        try:
            waiting.put(tables.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def _failed(error: Exception) -> Failed:
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever such an error does, its text travels
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failed(error, trace)
