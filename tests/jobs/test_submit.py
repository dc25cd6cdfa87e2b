"""Submitting: what travels, and a real cluster (a head, two workers, a token) that never runs one spec twice."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from deploy.endpoint.api import create_app
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Meters
from deploy.guard.auth import Keys
from deploy.replica.pool import LocalSegmenter
from jobs.cluster import submit
from jobs.cluster.job_api import JobState
from tests.jobs import collection
from tests.servers.ray_cluster import RayCluster
from tests.servers.swift import ACCESS_KEY, SECRET_KEY
from tlg import exemplars, store
from tlg.cli import app
from tlg.errors import ClusterError, LeaseHeldError, SpecError, StorageError
from tlg.spec import AnnotateSpec, load_annotate_spec

IMAGE_COUNT = 24
PATIENCE_SECONDS = 400  # A cluster starts slowly where other work runs beside it; nothing is asserted of time.
POLL_SECONDS = 0.3


def write_images(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (16, 24, 3), np.uint8)).save(folder / f"{seed}-{number:03d}.png")


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A job on local folders that every process of the cluster sees."""
    write_images(tmp_path / "images", IMAGE_COUNT)
    write_images(tmp_path / "exemplars/fox", 2, seed=1)
    write_images(tmp_path / "exemplars/_negatives", 1, seed=2)
    path = tmp_path / "job.yaml"
    path.write_text(
        "{name: traps, images: {uri: images}, exemplars: exemplars, model: dry-run, output: {uri: out},"
        " workers: {min: 1, max: 2}, run: {batch_size: 2}}"
    )
    return path


def test_a_log_that_its_head_begins_anew_is_shown_further(monkeypatch):
    logs = iter(["first line\n", "first line\nsecond line\n", "third\n", "third\nlast\n"])
    states = iter(["RUNNING", "RUNNING", "RUNNING", "SUCCEEDED"])
    monkeypatch.setattr(submit.JobApi, "job", lambda _, name: JobState(name, next(states)))
    monkeypatch.setattr(submit.JobApi, "logs", lambda *_: next(logs))
    shown: list[str] = []
    submit.follow("job", "http://head:8265", show=shown.append, poll_seconds=0)
    assert [text.strip() for text in shown] == ["first line", "second line", "third", "last"]


def load(path: Path, *overrides: str) -> AnnotateSpec:
    return load_annotate_spec(str(path), list(overrides))


def answered(output: Path) -> list[str]:
    return [str(value) for value in pq.read_table(output / "annotations").column("image_uri").to_pylist()]


def test_the_package_is_the_same_job_elsewhere(job_file, tmp_path):
    spec = load(job_file)
    package = submit.pack(spec)
    for name, content in package.files.items():
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_bytes(content)
    shutil.move(tmp_path / "exemplars", tmp_path / "moved")
    there = load(tmp_path / "there/spec.yaml")
    assert there == spec.model_copy(update={"exemplars": there.exemplars})
    assert exemplars.load(there.exemplars).digest == exemplars.load(str(tmp_path / "moved")).digest


def test_equal_jobs_have_equal_digests_and_others_do_not(job_file, tmp_path):
    first = submit.pack(load(job_file)).digest
    assert submit.pack(load(job_file)).digest == first
    assert submit.pack(load(job_file, "run.min_score=0.7")).digest != first
    write_images(tmp_path / "exemplars/fox", 1, seed=9)
    assert submit.pack(load(job_file)).digest != first


def test_references_into_stores_do_not_travel(job_file, tmp_path):
    written = tmp_path / "set.yaml"
    written.write_text("{name: s, classes: [{name: fox, exemplars: ['s3://b/1.jpg', exemplars/fox/1-000.png]}]}")
    package = submit.pack(load(job_file, f"exemplars={written}"))
    assert sorted(package.files) == ["exemplars.yaml", "exemplars/0000.png", "spec.yaml"]
    assert b"s3://b/1.jpg" in package.files["exemplars.yaml"]
    assert sorted(submit.pack(load(job_file, "exemplars=s3://b/set.yaml")).files) == ["spec.yaml"]


def test_too_many_exemplars_are_refused(job_file, monkeypatch):
    monkeypatch.setattr(submit, "PACKAGE_LIMIT_MB", 0.001)
    with pytest.raises(SpecError, match="put them into a bucket"):
        submit.pack(load(job_file))


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "auto"])
def test_only_a_dashboard_address_will_do(job_file, address):
    with pytest.raises(ClusterError, match="http://head:8265"):
        submit.submit(load(job_file), address)


def test_no_cluster_is_one_clear_error(job_file):
    with pytest.raises(ClusterError, match="cannot be reached"):
        submit.submit(load(job_file), "http://127.0.0.1:1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with RayCluster(workers=2, cpus_per_worker=2, environment=keys) as started:
        yield started


@pytest.fixture
def address(cluster: RayCluster, monkeypatch) -> str:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", cluster.token)
    return cluster.address


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(POLL_SECONDS)


@pytest.mark.cluster
@pytest.mark.parametrize(("token", "said"), [("wrong", "refuses the token"), ("", "asks for a token")])
def test_a_wrong_token_is_one_clear_error(job_file, address, monkeypatch, tmp_path, token, said):
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterError, match=said):
        submit.submit(load(job_file), address)


@pytest.mark.cluster
@pytest.mark.long
def test_a_worker_dies_and_the_job_finishes_and_a_second_submit_attaches(cluster, job_file, address, tmp_path):
    spec = load(job_file, "model=dry-run:0.3")
    # Four people press the button at once; one job starts.
    submitted: list[submit.SubmittedJob] = []
    people = [threading.Thread(target=lambda: submitted.append(submit.submit(spec, address))) for _ in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert [job.created for job in submitted].count(True) == 1
    assert len({job.id for job in submitted}) == 1
    job_id = submitted[0].id

    wait_until(lambda: list((tmp_path / "out/annotations").glob("*.parquet")))
    assert submit.status(job_id, address).live
    cluster.kill_worker(0)
    log: list[str] = []
    ended = submit.follow(job_id, address, show=log.append, poll_seconds=POLL_SECONDS)
    assert ended.status == "SUCCEEDED", "\n".join(log)[-3000:]
    found = answered(tmp_path / "out")
    assert len(found) == len(set(found)) == IMAGE_COUNT
    assert submit.submit(spec, address) == submit.SubmittedJob(job_id, "SUCCEEDED", created=False)

    # The next night is another attempt of the same job, with nothing left to do.
    again = CliRunner().invoke(
        app, ["submit", str(job_file), "--set", "model=dry-run:0.3", "--address", address, "--again", "--wait"]
    )
    assert again.exit_code == 0, again.output
    assert f"{job_id.removesuffix('1')}2: submitted" in again.output
    assert f"{address}/#/jobs/{job_id.removesuffix('1')}2\n" in again.output
    assert sorted(answered(tmp_path / "out")) == sorted(found)
    listed = CliRunner().invoke(app, ["jobs", "list", "--address", address]).output
    assert f"{job_id}  succeeded" in listed


@pytest.mark.cluster
def test_a_job_that_writes_keeps_others_out_until_it_is_stopped(job_file, address, tmp_path):
    endless = load(job_file, "model=dry-run:600", "output.uri=shared")
    first = submit.submit(endless, address)
    wait_until(lambda: list((tmp_path / "shared/_lease").glob("*.json")))
    other = submit.submit(load(job_file, "output.uri=shared", "run.batch_size=3"), address)
    refused = submit.follow(other.id, address, poll_seconds=POLL_SECONDS)
    assert submit.exit_code(refused) == LeaseHeldError.exit_code

    # Its deadline stops it; submitted again it is the next attempt, which a person stops.
    with pytest.raises(ClusterError, match=r"deploy\.deadline_seconds"):
        submit.follow(first.id, address, deadline_seconds=0.01, poll_seconds=POLL_SECONDS)
    wait_until(lambda: not submit.status(first.id, address).live)
    second = submit.submit(endless, address)
    assert second.created
    assert second.id == first.id.removesuffix("1") + "2"
    stopped = CliRunner().invoke(app, ["jobs", "stop", second.id, "--address", address])
    assert "asked to stop" in stopped.output
    wait_until(lambda: submit.status(second.id, address).status == "STOPPED")


@pytest.mark.cluster
def test_a_failed_job_leaves_with_its_own_exit_code(job_file, address):
    job = submit.submit(load(job_file, "images.uri=/no/such/folder", "output.uri=nothing"), address)
    ended = submit.follow(job.id, address, poll_seconds=POLL_SECONDS)
    assert ended.status == "FAILED"
    assert submit.exit_code(ended) == StorageError.exit_code


@pytest.mark.cluster
def test_unknown_jobs_are_one_clear_error(address):
    for ask in (submit.status, submit.logs, submit.stop):
        with pytest.raises(ClusterError, match="tlg jobs list"):
            ask("traps-000000000000-1", address)


@pytest.mark.cluster
@pytest.mark.long
def test_the_endpoint_runs_a_job_with_exemplars_from_its_bucket(swift, address):
    """PUT a set (kept in a bucket), POST the job, ask until it is done; images, set and answers are all in S3."""

    access = store.Access(swift.endpoint)
    store.s3_client(access).create_bucket(Bucket="shelf")
    for number in range(IMAGE_COUNT):
        store.write(f"s3://shelf/images/{number}.png", collection.picture(number), access)
    config = ServeConfig(
        model="dry-run:0.3",
        store="s3://shelf/exemplar-sets",
        storage={"endpoint": swift.endpoint},
        jobs_address=address,
        uri_prefixes=["s3://shelf/images"],
        output_prefixes=["s3://shelf/answers"],
    )
    meters = Meters()
    app = create_app(config, Keys([]), LocalSegmenter(config, meters), meters, None)
    spec = {"name": "shelf", "images": {"uri": "s3://shelf/images"}, "exemplars": "discs", "model": config.model}
    spec |= {"output": {"uri": "s3://shelf/answers"}, "workers": {"min": 1, "max": 2}, "run": {"batch_size": 2}}
    files = [("exemplar", ("disc.png", collection.picture(100)))]
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000)) as client:
        stored = client.put("/v1/exemplar-sets/discs", files=files, data={"label": ["disc"]}).json()
        assert stored["uri"].startswith("s3://shelf/exemplar-sets/")
        submitted = client.post("/v1/jobs", json=spec).json()
        assert submitted["status"] in ("PENDING", "RUNNING")
        seen: list[dict[str, str]] = []

        def ended() -> bool:
            seen.append(client.get(f"/v1/jobs/{submitted['id']}").json())
            return seen[-1]["status"] not in ("PENDING", "RUNNING")

        wait_until(ended)
    assert seen[-1]["status"] == "SUCCEEDED", seen[-1]
    assert f"{IMAGE_COUNT} of {IMAGE_COUNT} images" in seen[-1]["message"]
    assert any(f"of {IMAGE_COUNT} images" in (one["message"] or "") for one in seen if one["status"] == "RUNNING")
    rows = collection.answers("s3://shelf/answers", access)
    collection.assert_each_once(rows)
    assert len(rows) == IMAGE_COUNT
    assert set(rows["exemplars_digest"].to_pylist()) == {stored["digest"]}
