"""A worker meets refused credentials: the run ends with the code that says so."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobs.annotate import annotate
from jobs.output import shards
from tests.jobs import collection
from tlg.errors import CredentialsError

pytestmark = pytest.mark.cluster
EXPIRED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"""


class Expired(BaseHTTPRequestHandler):
    """A store whose every answer is that the keys have expired."""

    def do_GET(self):
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(EXPIRED)))
        self.end_headers()
        self.wfile.write(EXPIRED)

    def log_message(self, *_):
        pass


@pytest.fixture
def expired_store():
    with ThreadingHTTPServer(("127.0.0.1", 0), Expired) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_credentials_that_expired_end_the_run_and_no_image_is_blamed(
    expired_store, exemplar_folder, tmp_path, local_ray
):
    (tmp_path / "images.csv").write_text("uri,etag,size\ns3://b/1.jpg,1,10\ns3://b/2.jpg,2,10\n")
    out = str(tmp_path / "out")
    images = {"manifest": str(tmp_path / "images.csv")}
    spec = collection.spec("", exemplar_folder, out, images=images, storage={"endpoint": expired_store})
    with pytest.raises(CredentialsError, match="ExpiredToken") as caught:
        annotate(spec)
    assert caught.value.exit_code == 5
    assert not shards.committed(out)
