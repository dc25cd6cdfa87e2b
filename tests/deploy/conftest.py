"""Pictures, an endpoint in this process, and one real endpoint on Ray Serve for the whole session."""

import importlib.util
import io
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from deploy.endpoint import logs
from deploy.endpoint.api import create_app
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Collector, Meters
from deploy.guard.auth import Keys
from deploy.replica.pool import LocalSegmenter
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS = 240
VALIDATOR = ROOT / "../shared/kuberay/validate.py"


def picture(seed=0, width=48, height=32, form="PNG"):
    """A bright square on dark noise, encoded."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    left, top = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
    pixels[top : top + height // 3, left : left + width // 3] += 180
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def exemplar_parts(**labels):
    """Multipart of exemplars: `exemplar_parts(fox=2, bear=1)`."""
    names = [name for name, count in labels.items() for _ in range(count)]
    files = [("exemplar", (f"{name}.png", picture(100 + i), "image/png")) for i, name in enumerate(names)]
    return {"files": files, "data": {"label": names}}


@pytest.fixture(autouse=True)
def log_as_before():
    """A replica of this process takes the log over, as it may in its own."""
    handlers, propagates, level = logs.logger.handlers[:], logs.logger.propagate, logs.logger.level
    yield
    logs.logger.handlers[:], logs.logger.propagate = handlers, propagates
    logs.logger.setLevel(level)


@pytest.fixture(scope="session")
def crds():
    """Validators by version and kind; a schema says whether KubeRay would take a Ray resource."""
    if not VALIDATOR.exists():
        pytest.skip("KubeRay's CRDs are not beside the repository: ../shared/kuberay")
    spec = importlib.util.spec_from_file_location("kuberay_validate", VALIDATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.validators()


@pytest.fixture
def make_picture():
    return picture


@pytest.fixture
def make_exemplars():
    return exemplar_parts


@pytest.fixture
def make_client(tmp_path):
    """A client of an endpoint in this process: `make_client(keys=[...], limits={...})`."""

    def make(keys=(), client="127.0.0.1", base_url="http://localhost", segmenter=LocalSegmenter, **settings):
        config = ServeConfig(**({"model": "dry-run", "store": str(tmp_path / "store")} | settings))
        meters = Meters()

        async def scrape():
            collector = Collector()
            collector.push(meters.source, meters.samples())
            return collector.text()

        app = create_app(config, Keys(keys), segmenter(config, meters), meters, scrape)
        return TestClient(app, base_url=base_url, client=(client, 50000), raise_server_exceptions=False)

    return make


@pytest.fixture
def client(make_client):
    """An endpoint in this process that knows the set `animals` with fox and bear."""
    made = make_client()
    made.put("/v1/exemplar-sets/animals", **exemplar_parts(fox=2, bear=1)).raise_for_status()
    return made


@dataclass
class Served:
    """A real endpoint: `tlg serve` as a process of its own, which may fetch what lies in `images`."""

    url: str
    process: subprocess.Popen
    log: Path
    mark: str
    images: Path
    http: httpx.Client = field(init=False)

    def __post_init__(self):
        self.http = httpx.Client(base_url=self.url, timeout=60)

    def replicas(self, name):
        """Process ids of a deployment's replicas, of this endpoint alone."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"ServeReplica:tlg:{name}".encode() in command and self.mark.encode() in environment:
                found.append(int(entry.name))
        return found


def start_serving(folder, **assignments):
    port = free_port()
    images = folder / "images"
    images.mkdir()
    settings = {"model": "dry-run", "store": str(folder / "store"), "uri_prefixes": f"[{images}]"} | assignments
    mark = f"TLG_TEST={uuid.uuid4().hex}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    # Serve gives its proxy 5 s to start, three times; then it ends the whole endpoint.
    environment |= {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
    environment |= dict([mark.split("=")])
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-c", "from tlg.cli import main; main()", "serve", "--port", str(port), *sets]
    log = folder / "serve.log"
    process = subprocess.Popen(
        command, env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
    )
    served = Served(f"http://127.0.0.1:{port}", process, log, mark, images)
    transport = httpx.HTTPTransport(retries=3)
    for _ in range(READY_SECONDS):
        try:
            with httpx.Client(transport=transport, timeout=5) as probe:
                if probe.get(f"{served.url}/readyz").status_code == 200:
                    return served
        except httpx.HTTPError:
            pass
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            continue
        break
    stop_serving(served)
    raise AssertionError(f"the endpoint did not start:\n{log.read_text()[-4000:]}")


def stop_serving(served):
    """As a service manager does: a polite signal, then patience, then force for the whole group."""
    served.http.close()
    if served.process.poll() is None:
        served.process.send_signal(signal.SIGTERM)
        try:
            served.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(served.process.pid, signal.SIGKILL)
            served.process.wait()


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    endpoint = start_serving(tmp_path_factory.mktemp("served"), **{"replicas.max": 2, "models": "[tlg-tiny]"})
    yield endpoint
    stop_serving(endpoint)


@pytest.fixture
def make_serving(tmp_path):
    """An endpoint for one test alone."""
    started = []

    def make(**assignments):
        started.append(start_serving(tmp_path, **assignments))
        return started[-1]

    yield make
    for endpoint in started:
        stop_serving(endpoint)
