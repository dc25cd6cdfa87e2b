"""Ray's own processes die, or a worker meets refused credentials: the run ends with the code that says so."""

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from jobs.annotate import annotate
from jobs.output import runs, shards
from tests.jobs import collection
from tests.servers.ray_cluster import START_ATTEMPTS, descendants
from tlg.errors import ClusterError, CredentialsError

pytestmark = pytest.mark.cluster
REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(REPOSITORY)}
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


def started(spec, tmp_path):
    """A run that has committed something; a busy machine may need Ray to be started again."""
    file, log = tmp_path / "job.yaml", tmp_path / "log"
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    command = [sys.executable, "-m", "jobs.annotate", str(file)]
    for _ in range(START_ATTEMPTS):
        with log.open("w") as said:
            driver = subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=said, stderr=said)
        while driver.poll() is None:
            if shards.committed(spec.output.uri):
                return driver
            time.sleep(0.05)
        assert "did not start" in log.read_text(), log.read_text()
    pytest.fail(log.read_text())


def test_a_killed_raylet_is_an_error_of_the_cluster(exemplar_folder, tmp_path):
    images = collection.write(tmp_path / "images", 160)
    out = str(tmp_path / "out")
    driver = started(collection.spec(str(images), exemplar_folder, out, model="dry-run:0.5"), tmp_path)
    (raylet,) = [pid for pid in descendants(driver.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet"]
    os.kill(raylet, signal.SIGKILL)
    code, said = driver.wait(), (tmp_path / "log").read_text()
    assert code == ClusterError.exit_code, said
    assert "error: " in said
    assert runs.recorded(out, last=1)[0]["state"] == "failed"


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
