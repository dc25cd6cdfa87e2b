"""`tlg serve` on a machine that is too busy: patient once, then one clear error; no real Ray here."""

import pytest
import ray

from deploy.endpoint import serving
from deploy.endpoint.config import ServeConfig
from tlg.errors import ClusterError

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup"
NO_PROXY = "HTTP proxies failed to start\nTraceback (most recent call last):\n  File ..."


@pytest.fixture
def starts(monkeypatch):
    """What becomes of each start of Ray and of Serve: errors to raise, in turn; then it works."""
    failures, done = [], []

    def step(name):
        def take(*_arguments, **_options):
            done.append(name)
            if name in ("init", "start") and failures:
                raise failures.pop(0)

        return take

    monkeypatch.setattr(ray, "init", step("init"))
    monkeypatch.setattr(ray, "shutdown", step("ray shutdown"))
    for name in ("start", "run", "shutdown"):
        monkeypatch.setattr(serving.serve, name, step(name))
    monkeypatch.setattr(serving, "build", lambda config: None)
    return failures, done


def test_a_ray_that_was_too_slow_is_started_once_more(starts):
    failures, done = starts
    failures.append(Exception(SLOW))
    serving.join("local")
    assert done.count("init") == 2


def test_a_ray_that_stays_too_slow_is_one_line_with_a_way_out(starts):
    starts[0].extend([Exception(SLOW)] * 2)
    with pytest.raises(ClusterError, match="too busy") as refused:
        serving.join("local")
    assert "\n" not in str(refused.value)


def test_a_proxy_that_was_too_slow_is_started_once_more(starts, capsys):
    failures, done = starts
    failures.append(RuntimeError(NO_PROXY))
    serving.start(ServeConfig())
    assert done == ["start", "shutdown", "start", "run"]
    assert "trying once more" in capsys.readouterr().err


def test_a_proxy_that_stays_away_is_one_line_with_a_way_out(starts):
    failures, done = starts
    failures.extend([RuntimeError(NO_PROXY)] * 2)
    with pytest.raises(ClusterError, match=r"did not start.*port 8000 is free.*too busy") as refused:
        serving.start(ServeConfig())
    assert "\n" not in str(refused.value)
    assert done[-1] == "ray shutdown"
