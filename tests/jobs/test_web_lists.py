"""Collections that are lists of web addresses, on a server that does what web servers do."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobs.flow import fetch, ledger, manifest
from jobs.flow.work import plan_work
from tests.jobs import collection
from tlg import store
from tlg.answers.records import Provenance
from tlg.errors import StorageError
from tlg.spec import ImagesSpec
from tlg.store import bodies, retry
from tlg.store import web as web_store

ACCESS = store.DEFAULT_ACCESS
PICTURE = collection.picture(1)
LIST = """# the camera at the ford
good.png

a folder/also%20good.png
moved.png
gone.png
secret.png
broken.png
busy.png
down.png
slow.png
cut.png
circle.png
lying.png
http://127.0.0.1:1/nobody.png
http://no-such-host.invalid/a.png
http://[/a.png
"""


class Web(ThreadingHTTPServer):
    """`busy.png` is there at the third attempt, `slow.png` never ends before `released` is set."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.released = threading.Event()
        self.asked: dict[str, int] = {}


class Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        self.server.asked[name] = count = self.server.asked.get(name, 0) + 1
        if name == "slow.png":
            self.server.released.wait()
        status = {"gone.png": 404, "secret.png": 403, "down.png": 500, "moved.png": 302, "circle.png": 302}.get(
            name, 200
        )
        if name == "busy.png" and count < 3:
            status = 503
        content = {"list.txt": LIST.encode(), "broken.png": b"<html>Sign in</html>"}.get(name, PICTURE)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/good.png" if name == "moved.png" else "/circle.png")
        if name == "lying.png":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:20] if name == "cut.png" else content)
        self.close_connection = True

    def log_message(self, *_):
        pass


def resolve(host, *arguments, known=socket.getaddrinfo, **options):
    """The resolver, without the network behind it: names below .invalid have no address by definition."""
    if host == "no-such-host.invalid":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return known(host, *arguments, **options)


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    # Long enough for whatever a busy machine does between two bytes.
    monkeypatch.setattr(bodies, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    web_store.client.cache_clear()
    server = Web()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    web_store.client.cache_clear()
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def planned(web, tmp_path, done=None):
    batches = manifest.listed(ImagesSpec(uri=f"{web.url}/lists/list.txt"))
    nothing = ledger.load(str(tmp_path / "out"), Provenance("m", "e", "p", "r"), ACCESS)
    return plan_work(batches, done or nothing, ["fox"], str(tmp_path / "work"), ACCESS)


def test_every_address_is_an_image_an_error_or_asked_again_another_night(web, tmp_path):
    work = planned(web, tmp_path)
    assert (work.listed, work.count) == (15, 15)
    outcomes = {}
    for table in fetch.Fetcher(work, ACCESS, 10**6).fetch(0, work.count):
        for one in fetch.from_table(table):
            found = "image" if one.picture is not None else one.error_type
            outcomes[one.uri.removeprefix(f"{web.url}/lists/")] = (found, one.deferred)
    assert outcomes == {
        "good.png": ("image", False),
        "a folder/also%20good.png": ("image", False),
        "moved.png": ("image", False),
        "gone.png": ("vanished", False),
        "secret.png": ("access_denied", False),
        "broken.png": ("not_an_image", False),
        "busy.png": ("image", False),
        "down.png": ("unreachable", True),
        "slow.png": ("unreachable", True),
        "cut.png": ("unreachable", True),
        "circle.png": ("unreachable", False),
        "lying.png": ("unreadable", False),
        "http://127.0.0.1:1/nobody.png": ("unreachable", True),
        "http://no-such-host.invalid/a.png": ("unreachable", False),
        "http://[/a.png": ("unreachable", False),
    }
    assert web.asked["busy.png"] == 3
    assert web.asked["slow.png"] == web.asked["down.png"] == retry.ATTEMPTS
    assert web.asked["gone.png"] == web.asked["secret.png"] == 1


@pytest.mark.parametrize(("name", "said"), [("gone.png", "does not exist"), ("secret.png", "refuses access")])
def test_a_list_that_cannot_be_had_is_one_clear_error(web, name, said):
    with pytest.raises(StorageError, match=f"{web.url}/{name}: .*{said}"):
        list(manifest.listed(ImagesSpec(uri=f"{web.url}/{name}")))
