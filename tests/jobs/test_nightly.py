"""Nights on a real S3 store: killed, missed and doubled ones add up to what one run over everything gives."""

import io
import json
import os
import signal
import subprocess
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deploy.manifests import foreground, schedule
from tests.servers import swift
from tests.servers.counting_proxy import CountingProxy
from tests.servers.ray_cluster import RayCluster
from tlg import store as storage
from tlg.errors import LeaseHeldError

pytestmark = [pytest.mark.cluster, pytest.mark.long]

REPOSITORY = Path(__file__).parents[2]
IMAGES_A_NIGHT = 16
PATIENCE_SECONDS = 300
CREDENTIALS = {"AWS_ACCESS_KEY_ID": swift.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": swift.SECRET_KEY}
# What the answers of two runs may differ in.
OF_THE_RUN = ["run_id"]


class Nights(foreground.Clock):
    """A bucket that fills up, and a scheduler whose nights pass as soon as they are over."""

    def __init__(self, folder: Path, proxy: CountingProxy):
        self.moment = datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Etc/UTC"))
        self.bucket = f"traps-{proxy.server_port}"
        self.proxy = proxy
        self.access = storage.Access(proxy.endpoint)
        self.folder = folder
        self.spec = self.write_spec("out")
        self._added = 0

    def now(self, timezone: ZoneInfo) -> datetime:
        return self.moment.astimezone(timezone)

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    def write_spec(self, output: str, model: str = "dry-run") -> Path:
        path = self.folder / f"{output}.yaml"
        path.write_text(
            f"{{name: nightly, images: {{uri: 's3://{self.bucket}/images/'}}, exemplars: 's3://{self.bucket}/exemplars/',"
            f" model: '{model}', output: {{uri: 's3://{self.bucket}/{output}/', formats: [parquet]}},"
            f" run: {{batch_size: 2}}, storage: {{endpoint: '{self.proxy.endpoint}'}}}}"
        )
        return path

    def put_image(self, key: str) -> None:
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (16, 24, 3), np.uint8)).save(stream, "PNG")
        storage.write(f"s3://{self.bucket}/{key}", stream.getvalue(), self.access)

    def new_images(self, count: int = IMAGES_A_NIGHT) -> set[str]:
        keys = {f"images/{number:04d}.png" for number in range(self._added, self._added + count)}
        self._added += count
        for key in keys:
            self.put_image(key)
        return {f"{self.bucket}/{key}" for key in keys}

    def pass_one(self, run=subprocess.call) -> tuple[int, set[str]]:
        """The next night as the scheduler runs it: its exit code, and the images that it fetched."""
        self.proxy.take_fetched()
        night = schedule.command(str(self.spec), address=None)
        (code,) = foreground.run_local(night, "0 2 * * *", "Etc/UTC", self, run, show=lambda text: None, nights=1)
        return code, {key for key in self.proxy.take_fetched() if key.startswith(f"{self.bucket}/images/")}

    def answers(self, output: str) -> dict[tuple[str, int], dict]:
        """Every committed row; none may be there twice."""
        found: dict[tuple[str, int], dict] = {}
        for entry in storage.entries(f"s3://{self.bucket}/{output}/annotations", "*.parquet", self.access):
            rows = pq.read_table(io.BytesIO(storage.read(entry.uri, self.access))).drop_columns(OF_THE_RUN).to_pylist()
            for row in rows:
                key = (row["image_uri"], row["class_id"])
                assert key not in found, f"{key} is answered twice"
                found[key] = row
        return found

    def runs_of(self, images: set[str]) -> dict[str, str]:
        """The run that answered each of these images of `out`."""
        tables = [
            pq.read_table(io.BytesIO(storage.read(entry.uri, self.access)), columns=["image_uri", "run_id"])
            for entry in storage.entries(f"s3://{self.bucket}/out/annotations", "*.parquet", self.access)
        ]
        rows = [row for table in tables for row in table.to_pylist()]
        found = {row["image_uri"].removeprefix("s3://"): row["run_id"] for row in rows}
        return {image: found[image] for image in images}

    def drawn(self, output: str) -> set[str]:
        """The images on the report's sheets."""
        sheets = json.loads(storage.read(f"s3://{self.bucket}/{output}/report/sheets.json", self.access))
        return {sheet["uri"].removeprefix("s3://") for sheet in sheets}

    def answered_images(self, output: str) -> set[str]:
        return {uri.removeprefix("s3://") for uri, _ in self.answers(output)}


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    try:
        with swift.Swift() as running:
            yield running.endpoint
    except swift.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(workers=1, cpus_per_worker=6, environment=CREDENTIALS) as started:
        yield started


@pytest.fixture
def nights(store: str, cluster: RayCluster, tmp_path: Path, monkeypatch) -> Iterator[Nights]:
    monkeypatch.setenv("RAY_ADDRESS", cluster.gcs_address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", cluster.token)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.chdir(tmp_path)
    with CountingProxy(store) as proxy:
        nights = Nights(tmp_path, proxy)
        storage.s3_client(nights.access).create_bucket(Bucket=nights.bucket)
        for key in ("exemplars/fox/1.png", "exemplars/owl/1.png", "exemplars/_negatives/1.png"):
            nights.put_image(key)
        yield nights


def killed_once_something_is_committed(nights: Nights, command: Sequence[str]) -> int:
    """Run a night and SIGKILL all of it after its first commit."""
    before = len(nights.answers("out"))
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(nights.answers("out")) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def test_killed_missed_and_idle_nights_add_up_to_one_run_over_everything(nights: Nights, monkeypatch):
    everything = nights.new_images()
    assert nights.pass_one() == (0, everything)

    # The second night dies half-way: what it committed stays committed.
    everything |= nights.new_images(3 * IMAGES_A_NIGHT)
    nights.spec = nights.write_spec("out", "dry-run:0.5")
    code, _ = nights.pass_one(lambda command: killed_once_something_is_committed(nights, command))
    assert code == -signal.SIGKILL
    committed = nights.answered_images("out")
    assert committed < everything

    # The third never happens; its images are the fourth's, with what the killed one left.
    nights.spec = nights.write_spec("out")
    everything |= nights.new_images()
    nights.moment += timedelta(days=1)
    everything |= nights.new_images()
    kept = nights.runs_of(committed)
    code, fetched = nights.pass_one()
    # What was committed is not answered again; a picture of it may be read for the report, which the killed night
    # never drew.
    assert (code, nights.runs_of(committed)) == (0, kept)
    assert fetched - nights.drawn("out") == everything - committed - nights.drawn("out")
    assert everything - committed <= fetched

    # A night with nothing new fetches no image and does without a cluster.
    with monkeypatch.context() as idle:
        idle.setenv("RAY_ADDRESS", "127.0.0.1:1")
        assert nights.pass_one() == (0, set())

    subprocess.run(schedule.command(str(nights.write_spec("single")), None), check=True)
    assert nights.answers("out") == nights.answers("single")
    assert nights.answered_images("out") == everything


def test_of_two_schedulers_one_runs_and_the_other_leaves_with_its_code(nights: Nights):
    everything = nights.new_images()
    night = schedule.command(str(nights.write_spec("out", "dry-run:0.2")), address=None)
    both = [subprocess.Popen(night) for _ in range(2)]
    assert sorted(process.wait(timeout=PATIENCE_SECONDS) for process in both) == [0, LeaseHeldError.exit_code]
    assert nights.answered_images("out") == everything


def test_every_night_leaves_its_record(nights: Nights):
    nights.new_images(2)
    nights.pass_one()
    nights.pass_one()
    assert len(list(storage.entries(f"s3://{nights.bucket}/out/runs", "*.json", nights.access))) == 2
