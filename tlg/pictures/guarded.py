"""Strangers' pictures, decoded in a process beside this one, so that a decoder that hangs or crashes can be killed.

The pixels come back through memory that both processes see. A process decodes one picture at a time and is kept for the
next; as many run as there are threads that decode. It keeps memory that it freed, which makes up for the detour.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading

import numpy as np

from tlg.errors import ClusterError, InputError
from tlg.pictures.decoding import Picture
from tlg.pictures.header import DEFAULT_MAX_PIXELS

# Whether a mask is wanted, the most pixels, the seconds it may take, the number of bytes that follow.
REQUEST = struct.Struct("<?qdq")
# Rows, columns and channels of the pixels, height and width of the image, and the number of bytes of an error's text.
ANSWER = struct.Struct("<qqqqqq")
READY = b"."
PART_BYTES = 1 << 20
SECONDS = 60.0
# Not part of a picture's time: Python and its libraries are loaded first.
START_SECONDS = 120.0
# A process may be killed for what is no fault of the picture's: a picture is tried with two.
ATTEMPTS = 2
# Not `python -m`, which would look for modules in the folder that the user is in.
PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
from tlg.pictures.decoder_process import main
main(int(sys.argv[1]))
"""


def guarded_decode(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, seconds: float | None = None) -> Picture:
    """`decode`, for at most so many seconds."""
    pixels, height, width = _decoded(content, False, max_pixels, SECONDS if seconds is None else seconds)
    return Picture(pixels, height, width)


def guarded_decode_mask(content: bytes) -> np.ndarray:
    """`decode_mask`, in bounded time."""
    pixels, height, width = _decoded(content, True, DEFAULT_MAX_PIXELS, SECONDS)
    return pixels.reshape(height, width).view(bool)


class DecoderDied(Exception):
    """The process ended before it answered."""


class DecoderProcess:
    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)
        self._connection, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-c", PROGRAM, str(theirs.fileno()), *map(os.path.abspath, sys.path)]
        with theirs:
            # A session of its own: Ctrl-C is for whoever asks.
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
            )
        self._connection.settimeout(START_SECONDS)
        try:
            is_ready = self._connection.recv(len(READY)) == READY
        except TimeoutError:
            is_ready = False
        if not is_ready:
            self.end()
            raise ClusterError(
                f"no process to decode pictures in started within {START_SECONDS:g} s; "
                "run again when the machine has less to do and memory to spare"
            )

    def decode(self, content: bytes, is_mask: bool, max_pixels: int, seconds: float) -> tuple[np.ndarray, int, int]:
        """Pixels, height and width; TimeoutError or DecoderDied leave a process that is of no more use."""
        self._connection.settimeout(seconds)
        try:
            self._connection.sendall(REQUEST.pack(is_mask, max_pixels, seconds, len(content)))
            self._connection.sendall(content)
            header, files, _, _ = socket.recv_fds(self._connection, ANSWER.size, 1)
            rows, columns, channels, height, width, text_length = ANSWER.unpack(header)
            text = received(self._connection, text_length)
        except TimeoutError:
            raise
        except (OSError, struct.error):
            raise DecoderDied from None
        for file in files:
            self._memory = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
            os.close(file)
        if text:
            kind, message = json.loads(text)
            raise InputError(message, kind) if kind else MemoryError(message)
        pixels = np.frombuffer(self._memory, np.uint8, rows * columns * channels)
        return pixels.reshape(rows, columns, channels).copy(), height, width

    def end(self) -> int:
        """Kill it, if it still runs; what it ended with."""
        self._connection.close()
        self._process.kill()
        return self._process.wait()


class IdleProcesses:
    """Those that wait for a picture. A forked process has none: its parent's are not its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._processes: list[DecoderProcess] = []

    def take(self) -> DecoderProcess:
        with self._lock:
            if self._owner != os.getpid():
                self._owner, self._processes = os.getpid(), []
            if self._processes:
                return self._processes.pop()
        return DecoderProcess()

    def give_back(self, process: DecoderProcess) -> None:
        with self._lock:
            self._processes.append(process)


_idle = IdleProcesses()


def _decoded(content: bytes, is_mask: bool, max_pixels: int, seconds: float) -> tuple[np.ndarray, int, int]:
    status = 0
    for _ in range(ATTEMPTS):
        process = _idle.take()
        try:
            decoded = process.decode(content, is_mask, max_pixels, seconds)
        except TimeoutError:
            process.end()
            raise InputError(f"the image was not decoded within {seconds:g} s; save it anew", "too_slow") from None
        except DecoderDied:
            status = process.end()
        except (InputError, MemoryError):
            _idle.give_back(process)
            raise
        else:
            _idle.give_back(process)
            return decoded
    how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    raise InputError(f"the decoder's process ended with {how} at this image; save it anew", "decoder_died")


def received(connection: socket.socket, count: int) -> bytes | None:
    """So many bytes; None where the other side has gone."""
    parts = []
    while count:
        part = connection.recv(min(count, PART_BYTES))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
