"""What may be fetched, against real local servers: prefixes, redirects, sizes, addresses."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.endpoint.problems import ProblemError
from deploy.guard.fetch import Fetcher, is_below
from tlg.errors import StorageError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        target = self.server.redirects.get(self.path)
        self.send_response(302 if target else 404 if "missing" in self.path else 200)
        if target:
            self.send_header("Location", target)
        self.end_headers()
        if "endless" in self.path:
            while True:
                self.wfile.write(b"x" * 65536)
        self.wfile.write(b"picture")

    def log_message(self, *_):
        pass


@pytest.fixture
def make_server():
    servers = []

    def make(**redirects):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.seen, server.redirects = [], {f"/pub/{name}": target for name, target in redirects.items()}
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_reads_below_the_prefix_and_follows_redirects_inside_it(make_server):
    server = make_server(a="/pub/b")
    fetcher = Fetcher((f"{server.url}/pub",), 1000)
    assert fetcher.read(f"{server.url}/pub/a") == b"picture"
    assert [path for path, _ in server.seen] == ["/pub/a", "/pub/b"]


def test_redirects_out_of_the_prefix_are_not_followed(make_server):
    secret = make_server()
    server = make_server(
        a=f"{secret.url}/pub/x", b="/private", c="file:///etc/passwd", d="//169.254.169.254/", e="/pub/e"
    )
    fetcher = Fetcher((f"{server.url}/pub/",), 1000)
    for name in "abcd":
        with pytest.raises(ProblemError, match="not fetched"):
            fetcher.read(f"{server.url}/pub/{name}")
    with pytest.raises(StorageError, match="redirects"):
        fetcher.read(f"{server.url}/pub/e")
    assert not secret.seen


def test_tokens_stay_with_their_host(make_server):
    other = make_server()
    server = make_server(a=f"{other.url}/pub/x", b="/pub/c")
    fetcher = Fetcher((f"{server.url}/pub/", f"{other.url}/pub/"), 1000)
    fetcher.read(f"{server.url}/pub/a", {"Authorization": "Token secret"})
    fetcher.read(f"{server.url}/pub/b", {"Authorization": "Token secret"})
    assert [token for _, token in server.seen] == ["Token secret"] * 3
    assert other.seen == [("/pub/x", None)]


def test_endless_answers_stop_at_the_limit(make_server):
    server = make_server()
    with pytest.raises(ProblemError) as refused:
        Fetcher((server.url,), 300_000).read(f"{server.url}/endless")
    assert refused.value.status == 413
    with pytest.raises(StorageError, match="404"):
        Fetcher((server.url,), 1000).read(f"{server.url}/missing")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "100.64.0.1", "0.0.0.0"]
)
def test_allowed_names_may_not_mean_inner_addresses(address, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 80))])
    with pytest.raises(ProblemError, match="not a public address"):
        Fetcher(("https://images.example.org/",), 1000).read("https://images.example.org/a.jpg")


def test_local_folders_only_where_configured_and_not_through_links(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "open" / "link.jpg").symlink_to(tmp_path / "secret")
    fetcher = Fetcher((str(tmp_path / "open"),), 1000)
    assert fetcher.read(str(tmp_path / "open" / "a.jpg")) == b"picture"
    assert fetcher.read(f"file://{tmp_path}/open/a.jpg") == b"picture"
    for uri in (tmp_path / "open" / "link.jpg", tmp_path / "secret", tmp_path / "opener", tmp_path / "open/../secret"):
        with pytest.raises(ProblemError, match="not fetched"):
            fetcher.read(str(uri))


def test_prefixes_end_at_a_slash():
    assert is_below("s3://traps/2026/a.jpg", ("s3://traps/2026",)) == "s3://traps/2026"
    assert is_below("s3://traps/20261/a.jpg", ("s3://traps/2026",)) is None
    assert is_below("s3://traps/a.jpg", ("s3://traps",)) == "s3://traps"


def test_a_space_may_be_in_a_file_or_an_object_and_not_in_an_address():
    assert is_below("s3://traps/night one/a b.jpg", ("s3://traps",)) == "s3://traps"
    assert is_below("s3://traps/a b.jpg ", ("s3://traps",)) is None
    assert is_below("https://images.example.org/a b.jpg", ("https://images.example.org/",)) is None
