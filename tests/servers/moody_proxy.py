"""A store on a bad day: forwards to a real one, but some answers are 503 SlowDown, resets, cut short, or never come.

Which requests suffer follows from their number alone, so that a test is the same every time.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from types import TracebackType

SLOW_DOWN = (
    b"""<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""
)
MOODS = {3: "slow down", 5: "reset", 8: "cut short", 11: "slow down"}
PERIOD = 13
# A stall costs the client its whole time-out, so there are few.
STALLS = (40, 90)


class MoodyProxy:
    """`with MoodyProxy(port) as proxy`: talk to `proxy.endpoint` instead; `proxy.moods` counts what went wrong."""

    def __init__(self, upstream_port: int):
        self._upstream = upstream_port
        self.moods: Counter[str] = Counter()
        self._count = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> MoodyProxy:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._socket.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One request per connection: what is answered says so."""
        with client:
            try:
                head, body = _read_message(client)
                if head:
                    self._answer(client, head, body)
            except OSError:
                return

    def _answer(self, client: socket.socket, head: bytes, body: bytes) -> None:
        method = head.split(b" ", 1)[0]
        mood = self._mood(method)
        if mood == "slow down":
            client.sendall(_response(b"503 Slow Down", b"" if method == b"HEAD" else SLOW_DOWN))
            return
        if mood == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if mood == "stall":
            self._ended.wait(60)
            return
        with socket.create_connection(("127.0.0.1", self._upstream)) as upstream:
            upstream.sendall(_closing(head) + body)
            answer = b""
            while chunk := upstream.recv(65536):
                answer += chunk
        if mood == "cut short" and len(answer) > 600:
            answer = answer[: len(answer) - 200]
        client.sendall(answer)

    def _mood(self, method: bytes) -> str | None:
        # Only reads: a put that failed after it was done is the conditional put's business.
        if method not in (b"GET", b"HEAD"):
            return None
        with self._lock:
            self._count += 1
            mood = "stall" if self._count in STALLS else MOODS.get(self._count % PERIOD)
            if mood:
                self.moods[mood] += 1
            return mood


def _read_message(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65536)
        if not chunk:
            return b"", b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    if any(line.startswith(b"expect:") for line in lines):
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < length:
        body += client.recv(65536)
    return head, body


def _closing(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:"))]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def _response(status: bytes, body: bytes) -> bytes:
    length = str(len(body)).encode()
    return b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: " + length + b"\r\n\r\n" + body
