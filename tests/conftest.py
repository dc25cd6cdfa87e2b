"""Shared servers: started once a session, when the first test asks, stopped by their own pids."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.servers import chromium
from tests.servers import swift as swift_server

# One thread for each process, before torch is imported: on two cores that others use too, threads that wait for one
# another turn a second into two minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.datasets.squares"]


@pytest.fixture(scope="session")
def swift() -> Iterator[swift_server.Swift]:
    """A real S3 store; its keys are in the environment as a user's would be."""
    try:
        server = swift_server.Swift().__enter__()
    except swift_server.Unavailable as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", swift_server.ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", swift_server.SECRET_KEY)
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        yield server
    server.__exit__()


@pytest.fixture(scope="session")
def programs() -> chromium.Chromium:
    """A real browser and its driver."""
    try:
        return chromium.find_or_install()
    except chromium.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One small Ray for all tests of a session that run jobs in this process."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        # Workers inherit what is set when Ray starts.
        patch.setenv("AWS_ACCESS_KEY_ID", swift_server.ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", swift_server.SECRET_KEY)
        patch.setenv("PYTHONPATH", f"{Path(__file__).parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        for _ in range(3):
            try:
                ray.init(
                    address="local",
                    num_cpus=3,
                    include_dashboard=False,
                    object_store_memory=120 * 2**20,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
                break
            except Exception as error:  # a busy machine: Ray gives up after 30 s
                ray.shutdown()
                if "timed out during startup" not in str(error):
                    raise
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def exemplar_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of one exemplar each."""
    folder = tmp_path_factory.mktemp("exemplars")
    rng = np.random.default_rng(1)
    for name in ("fox", "hare"):
        (folder / name).mkdir()
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / name / "1.png")
    return folder


@pytest.fixture
def slow() -> bytes:
    """A JPEG that is accepted and takes about a second to decode: its last scan comes again and again."""
    stream = io.BytesIO()
    Image.new("RGB", (4000, 3000)).save(stream, "JPEG", progressive=True)
    jpeg = stream.getvalue()
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * 140 + jpeg[-2:]
