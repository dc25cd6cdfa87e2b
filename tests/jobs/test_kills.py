"""SIGKILL of the driver, of a worker, of a node: after another run the answers are those of a calm one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from jobs.annotate import annotate
from jobs.output import runs, shards
from tests.jobs import collection

pytestmark = pytest.mark.cluster
REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(REPOSITORY)}
COUNT = 160
PACE = "dry-run:0.05"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return collection.write(tmp_path_factory.mktemp("kills") / "images", COUNT)


@pytest.fixture(scope="module")
def calm(images, exemplar_folder, tmp_path_factory, local_ray):
    """The answers of an undisturbed run."""
    out = str(tmp_path_factory.mktemp("kills") / "calm")
    annotate(collection.spec(str(images), exemplar_folder, out))
    return collection.answers(out)


def committed_images(out):
    tables = [shards.read(shard, ["image_uri"]) for shard in shards.committed(out)]
    return {uri for table in tables for uri in table["image_uri"].to_pylist()}


def has_lease(out):
    return any((Path(out) / "_lease").glob("0*.json"))


def has_shards(count):
    return lambda out: len(shards.committed(out)) >= count


# What asks for no more than a process, and what asks for Ray.
HERE, ON_RAY = {}, {"min": 2, "max": 2}


@pytest.mark.parametrize(
    ("moment", "workers"),
    [
        pytest.param(has_lease, HERE, id="starting here"),
        pytest.param(has_shards(1), HERE, id="first commit here"),
        pytest.param(has_shards(2), HERE, id="second commit here"),
        pytest.param(has_lease, ON_RAY, id="starting", marks=pytest.mark.long),
        pytest.param(has_shards(1), ON_RAY, id="first commit", marks=pytest.mark.long),
        pytest.param(has_shards(2), ON_RAY, id="second commit", marks=pytest.mark.long),
    ],
)
def test_killed_driver(moment, workers, images, exemplar_folder, calm, tmp_path):
    out = str(tmp_path / "out")
    spec = collection.spec(str(images), exemplar_folder, out, model=PACE, workers=workers)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "jobs.annotate", str(file)], cwd=REPOSITORY, env=ENVIRONMENT, stdout=log, stderr=log
        )
        while not moment(out):
            assert driver.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    wait_for_end(file)
    before = committed_images(out)
    second = annotate(spec)
    assert second.images == COUNT - len(before)
    assert collection.answers(out).equals(calm)
    assert not (tmp_path / "out" / "_work").exists()
    assert runs.recorded(out, last=1)[0]["state"] == "succeeded"


def test_killed_worker(images, exemplar_folder, calm, tmp_path):
    out = str(tmp_path / "out")
    killed = []

    def kill_one() -> None:
        while not shards.committed(out):
            time.sleep(0.02)
        killed.append(segment_workers()[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    summary = annotate(collection.spec(str(images), exemplar_folder, out, model=PACE, workers={"min": 2, "max": 2}))
    killer.join()
    assert killed
    assert summary.done == COUNT
    assert collection.answers(out).equals(calm)


def test_killed_worker_beside_its_driver(images, exemplar_folder, calm, tmp_path):
    """Without Ray: the worker is started again, and nothing is left of it when its driver is gone."""
    out = str(tmp_path / "out")
    file = tmp_path / "job.yaml"
    spec = collection.spec(str(images), exemplar_folder, out, model=PACE)
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    driver = subprocess.Popen(
        [sys.executable, "-m", "jobs.annotate", str(file)], cwd=REPOSITORY, env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    while not shards.committed(out):
        assert driver.poll() is None
        time.sleep(0.02)
    worker, *_ = ours("jobs.flow.here_process")
    os.kill(worker, signal.SIGKILL)
    _, said = driver.communicate()
    assert driver.returncode == 0, said.decode()
    assert b"ray" not in said.lower()
    assert collection.answers(out).equals(calm)
    assert runs.recorded(out, last=1)[0]["done"] == COUNT
    assert not ours("jobs.flow.here_process")


def wait_for_end(file: Path) -> None:
    """A killed supervisor's child is killed by the kernel, a moment later."""
    while any(str(file) in line for line in command_lines()):
        time.sleep(0.02)


def command_lines() -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            yield (folder / "cmdline").read_text()


def segment_workers() -> list[int]:
    """Workers of the pool that descend from this process: other Rays of this machine are not ours."""
    return ours("ray::MapWorker")


def ours(name: str, ancestor: int | None = None) -> list[int]:
    """Processes of this name that descend from this one, or from another."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "cmdline").read_text() and is_ours(int(folder.name), ancestor):
                found.append(int(folder.name))
        except OSError:
            continue  # it has just ended
    return found


def is_ours(pid: int, ancestor: int | None = None) -> bool:
    ancestor = ancestor or os.getpid()
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@pytest.mark.long
def test_removed_node(images, exemplar_folder, calm, tmp_path):
    out = str(tmp_path / "out")
    script = Path(__file__).with_name("node_loss.py")
    ended = subprocess.run(
        [sys.executable, script, images, exemplar_folder, out],
        cwd=REPOSITORY,
        env={**ENVIRONMENT, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen["removed_after"] < COUNT == seen["done"]
    assert collection.answers(out).equals(calm)
