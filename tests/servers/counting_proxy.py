"""Stands before an S3 server and writes down which objects were fetched."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


class CountingProxy(ThreadingHTTPServer):
    """`with CountingProxy(endpoint) as proxy`: clients use `proxy.endpoint`; `proxy.fetched` counts `bucket/key`."""

    daemon_threads = True

    def __init__(self, endpoint: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(endpoint)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.fetched: Counter[str] = Counter()

    def __enter__(self) -> CountingProxy:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def take_fetched(self) -> Counter[str]:
        """What was fetched since the last time."""
        taken, self.fetched = self.fetched, Counter()
        return taken


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CountingProxy

    def _forward(self) -> None:
        upstream = http.client.HTTPConnection(self.server.upstream.hostname or "", self.server.upstream.port)
        try:
            body = self._body()
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            # The Host header stays the client's own: it is part of what was signed.
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length", "expect"}:
                    upstream.putheader(name, value)
            if body or "Content-Length" in self.headers:
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        path = urlsplit(self.path)
        if self.command == "GET" and answer.status in (200, 206) and not parse_qs(path.query, keep_blank_values=True):
            self.server.fetched[unquote(path.path).lstrip("/")] += 1
        self.send_response(answer.status)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length", "server", "date"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815

    def log_message(self, *_: object) -> None:
        return
