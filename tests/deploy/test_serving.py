"""`tlg serve` on a machine that is too busy: patient once, then one clear error; no real Ray here."""

import socket
from pathlib import Path

import pytest
import ray

from deploy.endpoint import serving
from deploy.endpoint.config import ServeConfig
from deploy.guard.listening import bound
from tests.servers.ports import free_port
from tlg.errors import ClusterError, SpecError

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup"
IPV6_ADDRESSES = Path("/proc/net/if_inet6")
NO_PROXY = "HTTP proxies failed to start\nTraceback (most recent call last):\n  File ..."

HAS_IPV6 = IPV6_ADDRESSES.exists() and bool(IPV6_ADDRESSES.read_text())


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


def test_a_taken_port_is_said_before_ray_starts(starts):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(SpecError, match=rf"127\.0\.0\.1, port {port}: .*in use.*--port"):
            serving.run(ServeConfig(port=port))
    assert starts[1] == []


def test_an_address_of_another_machine_is_refused_with_a_way_out():
    with pytest.raises(SpecError, match=r"203\.0\.113\.1, port 0: .*--host"):
        bound("203.0.113.1", 0)


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
def test_one_address_listens_for_both_families():
    with bound("::", free_port()) as listening:
        port = listening.getsockname()[1]
        for host in ("::1", "127.0.0.1"):
            socket.create_connection((host, port), timeout=5).close()
