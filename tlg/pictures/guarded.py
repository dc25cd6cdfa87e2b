"""Strangers' pictures, decoded in a process beside this one, so that a decoder that hangs or crashes can be killed.

The pixels come back through memory that both processes see. A process decodes one picture after the other and is kept
for the next; as many run as there are threads that decode. It keeps memory that it freed: that makes up for the detour.
Small pictures go there several at once: to wake a process takes as long as to decode one of them.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tlg.errors import ClusterError, InputError
from tlg.pictures.decoding import Picture
from tlg.pictures.header import DEFAULT_MAX_PIXELS

# Whether masks are wanted, the most pixels, the seconds it may take, the number of pictures and of all their bytes. The
# size of each picture follows, then their bytes.
REQUEST = struct.Struct("<?qdqq")
SIZE = struct.Struct("<q")
# How many pictures are answered, perhaps not all, and the number of bytes that follow.
REPLY = struct.Struct("<qq")
# Of each picture: rows, columns and channels of its pixels, height and width of the image, the seconds it took, and the
# number of bytes of an error's text, which follows.
ANSWER = struct.Struct("<qqqqqdq")
READY = b"."
PART_BYTES = 1 << 20
SECONDS = 60.0
# Not part of a picture's time: Python and its libraries are loaded first.
START_SECONDS = 120.0
# Not `python -m`, which would look for modules in the folder that the user is in.
PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
from tlg.pictures.decoder_process import main
main(int(sys.argv[1]))
"""


class Request(NamedTuple):
    """Pictures to decode, or masks."""

    contents: Sequence[bytes]
    is_mask: bool
    max_pixels: int
    seconds: float


class Outcome(NamedTuple):
    """What became of one picture, and how long its decoder was at it."""

    result: Picture | InputError | MemoryError
    seconds: float


def guarded_decode(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, seconds: float | None = None) -> Picture:
    """`decode`, for at most so many seconds."""
    return _only_picture(Request([content], False, max_pixels, SECONDS if seconds is None else seconds))


def guarded_decode_mask(content: bytes) -> np.ndarray:
    """`decode_mask`, in bounded time."""
    decoded = _only_picture(Request([content], True, DEFAULT_MAX_PIXELS, SECONDS))
    return decoded.pixels.reshape(decoded.height, decoded.width).view(bool)


def begin_to_decode(contents: Sequence[bytes], max_pixels: int = DEFAULT_MAX_PIXELS) -> Decoding:
    """`guarded_decode` of some pictures, in two steps: its caller does something else until they are there."""
    return Decoding(Request(contents, False, max_pixels, SECONDS))


def _only_picture(request: Request) -> Picture:
    ((result, _),) = Decoding(request).outcomes()
    if isinstance(result, Exception):
        raise result
    return result


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

    def ask(self, request: Request) -> None:
        """Send pictures; where that fails, `answer` says so."""
        contents, *rest = request
        sizes = [len(content) for content in contents]
        header = REQUEST.pack(*rest, len(contents), sum(sizes)) + b"".join(map(SIZE.pack, sizes))
        self._connection.settimeout(request.seconds)
        with contextlib.suppress(OSError):
            if sum(sizes) < PART_BYTES:
                self._connection.sendall(b"".join((header, *contents)))  # whoever waits for it wakes up once
            else:
                for part in (header, *contents):
                    self._connection.sendall(part)

    def answer(self) -> list[Outcome]:
        """Of the first pictures at least; TimeoutError or DecoderDied leave a process that is of no more use."""
        try:
            header, files, _, _ = socket.recv_fds(self._connection, REPLY.size, 1)
            count, size = REPLY.unpack(header)
            answers = received(self._connection, size)
        except TimeoutError:
            raise
        except (OSError, struct.error):
            raise DecoderDied from None
        if answers is None:
            raise DecoderDied
        for file in files:
            self._memory = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
            os.close(file)
        outcomes: list[Outcome] = []
        place = start = 0
        for _ in range(count):
            rows, columns, channels, height, width, seconds, text_size = ANSWER.unpack_from(answers, place)
            place += ANSWER.size + text_size
            if text_size:
                kind, message = json.loads(answers[place - text_size : place])
                outcomes.append(Outcome(InputError(message, kind) if kind else MemoryError(message), seconds))
                continue
            pixels = np.frombuffer(self._memory, np.uint8, rows * columns * channels, start)
            start += pixels.nbytes
            picture = Picture(pixels.reshape(rows, columns, channels).copy(), height, width)
            outcomes.append(Outcome(picture, seconds))
        return outcomes

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


class Decoding:
    """Pictures that a process is at; whoever began it takes what came of them, or gives it up."""

    def __init__(self, request: Request):
        self._request = request
        self._process = _asked(request)

    def outcomes(self) -> list[Outcome]:
        """Of every picture, as soon as all are there."""
        request = self._request
        try:
            found = self._process.answer()
        except TimeoutError:
            self._process.end()
            if len(request.contents) == 1:
                return [_too_slow(request.seconds)]
        except DecoderDied:
            self._process.end()
            if len(request.contents) == 1:
                return [_tried_again(request)]
        else:
            _idle.give_back(self._process)
            rest = request.contents[len(found) :]
            return found + Decoding(request._replace(contents=rest)).outcomes() if rest else found
        return [outcome for content in request.contents for outcome in _alone(request, content)]

    def give_up(self) -> None:
        self._process.end()


def _asked(request: Request) -> DecoderProcess:
    process = _idle.take()
    process.ask(request)
    return process


def _alone(request: Request, content: bytes) -> list[Outcome]:
    """Of a picture in whose company something went wrong."""
    return Decoding(request._replace(contents=[content])).outcomes()


def _tried_again(request: Request) -> Outcome:
    """Of a picture at which a process ended: processes are killed for what is no fault of the picture's."""
    process = _asked(request)
    try:
        (outcome,) = process.answer()
    except TimeoutError:
        process.end()
        return _too_slow(request.seconds)
    except DecoderDied:
        status = process.end()
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        text = f"the decoder's process ended with {how} at this image; save it anew"
        return Outcome(InputError(text, "decoder_died"), 0.0)
    _idle.give_back(process)
    return outcome


def _too_slow(seconds: float) -> Outcome:
    return Outcome(InputError(f"the image was not decoded within {seconds:g} s; save it anew", "too_slow"), seconds)


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
