"""Ray as it is: nodes that cannot do the job, heads from elsewhere, no home to write to, one process after another."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import ray
import yaml
from ray.data import Datasource

from jobs.flow import nodes, pipeline
from jobs.flow.source import UnitSource
from tests.jobs import collection
from tests.servers.environments import Unavailable, environment
from tests.servers.ray_cluster import RayCluster
from tlg.errors import ClusterError

REPOSITORY = Path(__file__).parents[2]
EXPECTED = {"python": "3.11", "ray": "2.60.0", "tlg": "0.1.0", "torch": "2.15.0", "numpy": "2.4.6"}
FINE = EXPECTED | {"model": "abc", "store": 4}


@pytest.mark.parametrize(
    ("told", "faults"),
    [
        (FINE, []),
        (FINE | {"torch": "2.14.0"}, []),
        (
            EXPECTED | {"missing": "No module named 'tlg'"},
            ["the product is not installed there (No module named 'tlg')"],
        ),
        (FINE | {"tlg": "0.0.9"}, ["tlg is 0.0.9, the driver has 0.1.0"]),
        (FINE | {"model": "def"}, ["model m is another one there (def, the driver has abc)"]),
        (
            EXPECTED | {"no_model": "/models/m: there is none", "no_store": "s3://b: refused"},
            ["model m: /models/m: there is none", "the output's store cannot be read there: s3://b: refused"],
        ),
    ],
)
def test_a_node_that_lacks_something_says_what(told, faults):
    assert nodes.faults_of(told, EXPECTED, "m", "abc") == faults


def test_a_node_that_leaves_while_the_job_starts_is_no_fault(local_ray, monkeypatch, caplog):
    """As a machine does that was lent for a while: Ray lists it some time longer."""
    spot = {"NodeID": "spot", "Alive": True, "Resources": {"CPU": 1}}
    spot |= {"NodeManagerHostname": "spot", "NodeManagerAddress": "10.0.0.9"}
    monkeypatch.setattr(nodes, "_asked", lambda *_: None)
    monkeypatch.setattr(nodes, "_faults", lambda *_: ["not schedulable"])
    work = SimpleNamespace(folder="/out/_work")
    looks = [[spot], [spot | {"Alive": False}]]
    monkeypatch.setattr(ray, "nodes", lambda: looks.pop(0))
    nodes.check("m", "abc", work)
    assert "spot (10.0.0.9) left the cluster" in caplog.text
    monkeypatch.setattr(ray, "nodes", lambda: [spot])
    with pytest.raises(ClusterError, match="not schedulable"):
        nodes.check("m", "abc", work)


def test_versions_are_told_the_same_way_everywhere():
    assert set(nodes.versions()) == {*nodes.SAME, *nodes.LIKE}


def test_a_cluster_of_other_versions_says_which_ray_to_start(monkeypatch):
    def refuse(**_):
        raise RuntimeError("Version mismatch: The cluster was started with: Ray: 2.50.0 Python: 3.12.1")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(ClusterError, match=r"Ray: 2\.50\.0 Python: 3\.12\.1; start the head with this installation's"):
        pipeline.connect(address="10.0.0.1:6379")


@pytest.mark.parametrize("mode", ["token", None])
def test_no_home_is_needed_for_a_ray_of_ones_own(mode, monkeypatch):
    """A token of this process's own where Ray could not keep one; nothing where none is asked for."""
    monkeypatch.setenv("HOME", "/dev/null/nobody")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    pipeline.connect(address="local")
    assert bool(os.environ.pop("RAY_AUTH_TOKEN", "")) == bool(mode)


class Marks:
    """A fetcher that says which unit it was asked for."""

    def fetch(self, start, count):
        yield pa.table({"start": [start], "count": [count]})


@pytest.mark.cluster
def test_rays_first_data_source_makes_a_task_of_every_unit(local_ray, monkeypatch):
    """Ray has a second kind of source by now: this is the one that is built upon, and what it promises."""
    assert issubclass(UnitSource, Datasource)
    monkeypatch.setattr("jobs.flow.source.PIXEL_SCHEMA", None)
    units = np.array([(0, 3), (3, 3), (6, 1)])
    dataset = ray.data.read_datasource(UnitSource(Marks(), units), override_num_blocks=len(units))
    rows = sorted((row["start"], row["count"]) for row in dataset.take_all())
    assert rows == [(0, 3), (3, 3), (6, 1)]


def job_of(tmp_path, exemplar_folder, name, count=12):
    images = collection.write(tmp_path / name / "images", count)
    spec = collection.spec(str(images), exemplar_folder, str(tmp_path / name / "out"))
    file = tmp_path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    return spec, file


def ran(program, *arguments, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    kept |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=kept | variables, cwd=REPOSITORY, check=False)


@pytest.mark.cluster
@pytest.mark.long
def test_a_job_needs_no_home(tmp_path, exemplar_folder):
    spec, file = job_of(tmp_path, exemplar_folder, "homeless")
    done = ran(["-m", "jobs.annotate"], file, HOME="/dev/null/nobody", RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(collection.answers(spec.output.uri)) == 24


BOTH = """
import os, sys
from jobs.annotate import annotate
from tlg.spec import load_annotate_spec
first, second, address, token = sys.argv[1:]
print(annotate(load_annotate_spec(first)).done)
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
print(annotate(load_annotate_spec(second), address).done)
"""


@pytest.mark.cluster
@pytest.mark.long
def test_one_process_runs_a_job_here_and_then_one_on_a_cluster(tmp_path, exemplar_folder):
    _, here = job_of(tmp_path, exemplar_folder, "here")
    _, there = job_of(tmp_path, exemplar_folder, "there")
    with RayCluster(workers=1, cpus_per_worker=3) as cluster:
        done = ran(["-c", BOTH], here, there, cluster.gcs_address, cluster.token)
    assert done.stdout.split() == ["12", "12"], done.stderr[-3000:]


@pytest.mark.cluster
@pytest.mark.long
def test_a_head_from_elsewhere_says_what_is_missing(tmp_path, exemplar_folder):
    """Ray alone, in an environment of its own: the cluster is there, the product is not."""
    try:
        alone = environment("ray-alone", (f"ray[default,data]=={ray.__version__}",))
    except Unavailable as error:
        pytest.skip(str(error))
    _, file = job_of(tmp_path, exemplar_folder, "elsewhere")
    with RayCluster(workers=1, cpus_per_worker=3, program=alone / "ray", environment={"PYTHONPATH": ""}) as cluster:
        told = ran(["-m", "jobs.annotate"], file, RAY_ADDRESS=cluster.gcs_address, RAY_AUTH_MODE="token",
                   RAY_AUTH_TOKEN=cluster.token)  # fmt: skip
    assert told.returncode == 8, told.stderr[-3000:]
    assert "the product is not installed there" in told.stderr
