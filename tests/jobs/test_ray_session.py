"""Starting Ray for a run: patient once, then one clear error; no real Ray here."""

import pytest
import ray

from jobs.flow import pipeline
from jobs.flow.stages import images_per_unit
from jobs.flow.vitals import Vitals
from jobs.flow.work import Work
from tlg import store
from tlg.errors import ClusterError
from tlg.spec import WorkersSpec

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.fixture
def starts(monkeypatch):
    """What becomes of each `ray.init`: errors to raise, in turn; then it works."""
    failures, asked = [], []

    def init(**options):
        asked.append(options["address"])
        if failures:
            raise failures.pop(0)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "memory": 4 * 2.0**30})
    monkeypatch.setattr(pipeline.vitals, "of_this_driver", lambda is_own: Vitals())
    return failures, asked


def session(address=None, **workers):
    with pipeline.ray_session(address, WorkersSpec(**workers)):
        pass


def test_a_start_that_was_too_slow_is_tried_once_more(starts):
    failures, asked = starts
    failures.append(Exception(SLOW))
    session()
    assert asked == ["local", "local"]


@pytest.mark.parametrize(
    ("address", "failures", "said"),
    [
        (None, [Exception(SLOW)] * 2, "too busy: run again"),
        (None, [OSError("No space left on device")], "free some memory and disk"),
        ("10.0.0.1:6379", [ConnectionError("Ray cluster could not be found")], "check the address and the token"),
    ],
)
def test_no_ray_is_one_clear_error(starts, address, failures, said):
    starts[0].extend(failures)
    with pytest.raises(ClusterError, match=f"Ray at {address or 'local'} .*{said}") as caught:
        session(address)
    assert "\n" not in str(caught.value)
    assert len(starts[1]) == len(failures)


@pytest.mark.parametrize(("count", "workers", "images"), [(10_000, 1, 256), (10_000, 64, 32), (100, 64, 8)])
def test_there_are_units_for_every_worker(count, workers, images):
    work = Work("", store.DEFAULT_ACCESS, count=count, total_bytes=count)
    assert images_per_unit(work, workers) == images


def test_a_worker_that_fits_nowhere_is_said_at_once(starts):
    with pytest.raises(ClusterError, match=r"needs 16 CPU, Ray has 8 in all; lower workers.cpus"):
        session(cpus=16)
    with pytest.raises(ClusterError, match=r"needs 6 GB of memory, Ray has 4 GB in all; lower workers.memory_gb"):
        session(memory_gb=6)
