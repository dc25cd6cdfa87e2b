"""What may be fetched, against real local servers: prefixes, redirects, sizes, addresses."""

import asyncio
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.endpoint.problems import ProblemError
from deploy.guard.fetch import Fetcher, is_below
from tlg.errors import StorageError


def read(fetcher, uri, headers=None):
    return asyncio.run(fetcher.read(uri, headers))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        target = self.server.redirects.get(self.path)
        self.send_response(302 if target else 404 if "missing" in self.path else 200)
        if target:
            self.send_header("Location", target)
        self.end_headers()
        if "drip" in self.path:
            self.server.dripping.release()
            self.wfile.write(b"x")
            self.server.stop.wait()
            return
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
        server.dripping, server.stop = threading.Semaphore(0), threading.Event()
        server.seen, server.redirects = [], {f"/pub/{name}": target for name, target in redirects.items()}
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop.set()
        server.shutdown()
        server.server_close()


def test_reads_below_the_prefix_and_follows_redirects_inside_it(make_server):
    server = make_server(a="/pub/b")
    fetcher = Fetcher((f"{server.url}/pub",), 1000)
    assert read(fetcher, f"{server.url}/pub/a") == b"picture"
    assert [path for path, _ in server.seen] == ["/pub/a", "/pub/b"]


def test_redirects_out_of_the_prefix_are_not_followed(make_server):
    secret = make_server()
    server = make_server(
        a=f"{secret.url}/pub/x", b="/private", c="file:///etc/passwd", d="//169.254.169.254/", e="/pub/e"
    )
    fetcher = Fetcher((f"{server.url}/pub/",), 1000)
    for name in "abcd":
        with pytest.raises(ProblemError, match="not fetched"):
            read(fetcher, f"{server.url}/pub/{name}")
    with pytest.raises(StorageError, match="redirects"):
        read(fetcher, f"{server.url}/pub/e")
    assert not secret.seen


def test_tokens_stay_with_their_host(make_server):
    other = make_server()
    server = make_server(a=f"{other.url}/pub/x", b="/pub/c")
    fetcher = Fetcher((f"{server.url}/pub/", f"{other.url}/pub/"), 1000)
    read(fetcher, f"{server.url}/pub/a", {"Authorization": "Token secret"})
    read(fetcher, f"{server.url}/pub/b", {"Authorization": "Token secret"})
    assert [token for _, token in server.seen] == ["Token secret"] * 3
    assert other.seen == [("/pub/x", None)]


def test_endless_answers_stop_at_the_limit(make_server):
    server = make_server()
    with pytest.raises(ProblemError) as refused:
        read(Fetcher((server.url,), 300_000), f"{server.url}/endless")
    assert refused.value.status == 413
    with pytest.raises(StorageError, match="404"):
        read(Fetcher((server.url,), 1000), f"{server.url}/missing")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "100.64.0.1", "0.0.0.0"]
)
def test_allowed_names_may_not_mean_inner_addresses(address, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 80))])
    with pytest.raises(ProblemError, match="not a public address"):
        read(Fetcher(("https://images.example.org/",), 1000), "https://images.example.org/a.jpg")


def test_local_folders_only_where_configured_and_not_through_links(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "open" / "link.jpg").symlink_to(tmp_path / "secret")
    fetcher = Fetcher((str(tmp_path / "open"),), 1000)
    assert read(fetcher, str(tmp_path / "open" / "a.jpg")) == b"picture"
    assert read(fetcher, f"file://{tmp_path}/open/a.jpg") == b"picture"
    for uri in (tmp_path / "open" / "link.jpg", tmp_path / "secret", tmp_path / "opener", tmp_path / "open/../secret"):
        with pytest.raises(ProblemError, match="not fetched"):
            read(fetcher, str(uri))


def test_prefixes_end_at_a_slash():
    assert is_below("s3://traps/2026/a.jpg", ("s3://traps/2026",)) == "s3://traps/2026"
    assert is_below("s3://traps/20261/a.jpg", ("s3://traps/2026",)) is None
    assert is_below("s3://traps/a.jpg", ("s3://traps",)) == "s3://traps"


def test_a_space_may_be_in_a_file_or_an_object_and_not_in_an_address():
    assert is_below("s3://traps/night one/a b.jpg", ("s3://traps",)) == "s3://traps"
    assert is_below("s3://traps/a b.jpg ", ("s3://traps",)) is None
    assert is_below("s3://traps/a.zip#1.jpg", ("s3://traps",)) is None
    assert is_below("https://images.example.org/a b.jpg", ("https://images.example.org/",)) is None


def test_a_server_that_drips_is_given_up_in_all(make_server):
    server = make_server()
    with pytest.raises(StorageError, match="not read within") as late:
        read(Fetcher((server.url,), 1000, seconds=0.2), f"{server.url}/drip")
    assert late.value.transient


def test_many_that_wait_for_a_slow_server_hold_up_nobody(make_server):
    slow, quick = make_server(), make_server()
    fetcher = Fetcher((slow.url, quick.url), 1000, seconds=30)

    async def scenario():
        waiting = [asyncio.create_task(fetcher.read(f"{slow.url}/drip")) for _ in range(60)]
        for _ in waiting:
            await asyncio.to_thread(slow.dripping.acquire)
        content = await fetcher.read(f"{quick.url}/a")
        nobody_is_done = not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        return content, nobody_is_done

    assert asyncio.run(scenario()) == (b"picture", True)


def test_a_redirect_to_nonsense_is_the_servers_fault(make_server):
    server = make_server(a="http://[")
    with pytest.raises(StorageError, match="no address"):
        read(Fetcher((server.url,), 1000), f"{server.url}/pub/a")


def test_the_next_address_of_a_host_is_tried(make_server, monkeypatch):
    server = make_server()
    port = server.server_port
    found = [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]  # nobody listens at the first
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert read(Fetcher((f"http://localhost:{port}/",), 1000), f"http://localhost:{port}/a") == b"picture"


def test_refusals_say_of_which_kind_they_are(make_server):
    server = make_server()
    with pytest.raises(StorageError) as gone:
        read(Fetcher((server.url,), 1000), f"{server.url}/missing")
    assert gone.value.missing
    assert not gone.value.transient


def test_the_scheme_is_the_same_in_any_case(make_server):
    server = make_server()
    uri = server.url.replace("http://", "HTTP://")
    assert read(Fetcher((server.url,), 1000), f"{uri}/a") == b"picture"
    assert read(Fetcher((uri,), 1000), f"{server.url}/a") == b"picture"


def test_buckets_differ_in_case_and_hosts_do_not():
    assert is_below("s3://TRAPS/a.jpg", ("s3://traps/",)) is None
    assert is_below("https://IMAGES.example.org/a.jpg", ("https://images.example.org/",)) is not None


def test_a_folder_lies_below_itself_in_every_store(tmp_path):
    assert is_below(f"{tmp_path}/", (str(tmp_path),)) == str(tmp_path)
    assert is_below("s3://traps/", ("s3://traps",)) == "s3://traps"
    assert is_below(str(tmp_path), (str(tmp_path),)) is None
