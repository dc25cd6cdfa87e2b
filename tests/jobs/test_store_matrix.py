"""A real job on the store of each scheme that holds outputs: a second writer is refused, a kill loses nothing."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from jobs.output import shards
from tests.jobs import collection
from tests.servers import stores
from tests.servers.environments import Unavailable
from tests.store.matrix import NOT_HERE, SCHEMES
from tlg import store

pytestmark = [pytest.mark.cluster, pytest.mark.long]
REPOSITORY = Path(__file__).parents[2]
COUNT = 60
HELD_BY_ANOTHER = 6


@pytest.fixture(params=[scheme for scheme in SCHEMES if (scheme, "two writers") not in NOT_HERE])
def place(request):
    """A store that holds a small collection; its environment is this process's and its jobs'."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(stores.of(request.param))
        except Unavailable as error:
            pytest.skip(str(error))
        stack.enter_context(stores.environment_of(made))
        for number in range(COUNT):
            store.write(f"{made.uri}/discs/{number:04d}.png", collection.picture(number), made.access)
        yield made


def started(file, log):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "jobs.annotate", str(file)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT)


def test_kill_and_two_writers(place, exemplar_folder, tmp_path):
    out = f"{place.uri}/out"
    storage = {"endpoint": place.endpoint} if place.endpoint else {}
    spec = collection.spec(f"{place.uri}/discs", exemplar_folder, out, model="dry-run:0.1", storage=storage)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    with (tmp_path / "log").open("wb") as log:
        first = started(file, log)
        while not shards.committed(out, place.access):
            assert first.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.1)
        second = started(file, log)
        assert second.wait() == HELD_BY_ANOTHER, (tmp_path / "log").read_text()[-3000:]
        first.kill()
        first.wait()
        before = collection.answers(out, place.access)
        assert 0 < len(before) < 2 * COUNT
        third = started(file, log)
        assert third.wait() == 0, (tmp_path / "log").read_text()[-3000:]
    answers = collection.answers(out, place.access)
    collection.assert_each_once(answers)
    assert len(answers) == 2 * COUNT
    assert set(answers["status"].to_pylist()) <= {"mask", "absent"}
