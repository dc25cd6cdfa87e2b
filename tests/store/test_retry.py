"""One policy: growing pauses, a limit in attempts and in time, the same for every scheme."""

import pytest

from tlg import store
from tlg.errors import StorageError
from tlg.store import bodies, registry, retry


@pytest.fixture
def pauses(monkeypatch):
    taken = []
    monkeypatch.setattr(retry, "sleep", taken.append)
    return taken


def failing(times, error):
    left = [error] * times

    def action():
        if left:
            raise left.pop()
        return b"content"

    return action


def test_transient_failures_are_tried_again_with_growing_pauses(pauses):
    assert retry.patiently(failing(4, StorageError("slow down", transient=True)), 60) == b"content"
    assert len(pauses) == 4
    assert pauses[0] < pauses[2] < pauses[3]


def test_certain_failures_are_not_tried_again(pauses):
    with pytest.raises(StorageError, match="gone"):
        retry.patiently(failing(1, StorageError("gone", missing=True)), 60)
    with pytest.raises(KeyError):
        retry.patiently(failing(1, KeyError()), 60)
    assert not pauses


def test_attempts_and_pauses_are_bounded(pauses):
    with pytest.raises(StorageError, match="down"):
        retry.patiently(failing(100, StorageError("down", transient=True)), 60)
    assert len(pauses) == retry.ATTEMPTS - 1
    assert max(pauses) <= retry.LONGEST_PAUSE_SECONDS + retry.FIRST_PAUSE_SECONDS


def test_no_pause_goes_beyond_the_patience(pauses):
    with pytest.raises(StorageError, match="busy"):
        retry.patiently(failing(9, StorageError("busy", transient=True, retry_after=61)), 60)
    assert not pauses
    retry.patiently(failing(1, StorageError("busy", transient=True, retry_after=7)), 60)
    assert pauses == [7]


class Flaky(store.Store):
    """Fails twice at everything; a put that fails has been done all the same."""

    def __init__(self, access):
        super().__init__(access)
        self.content: dict[str, bytes] = {}
        self.failures = 2

    def read(self, uri, max_bytes=None):
        self._fail()
        return self.content[uri]

    def create(self, uri, content):
        if uri in self.content:
            return False
        self.content[uri] = content
        self._fail()
        return True

    def _fail(self):
        if self.failures:
            self.failures -= 1
            raise StorageError("lost answer", transient=True)


@pytest.fixture
def flaky(monkeypatch, pauses):
    one = Flaky(store.DEFAULT_ACCESS)
    monkeypatch.setitem(registry.OWN, "flaky", lambda access: one)
    registry._made.cache_clear()
    yield one
    registry._made.cache_clear()


def test_the_policy_holds_for_every_scheme(flaky, pauses):
    flaky.content["flaky://a"] = b"1"
    assert store.read("flaky://a") == b"1"
    assert len(pauses) == 2


def test_a_put_whose_answer_was_lost_is_recognised(flaky):
    assert store.create("flaky://lease", b"mine")
    assert not store.create("flaky://lease", b"another's")
    flaky.content["flaky://other"] = b"another's"
    flaky.failures = 1
    assert not store.create("flaky://other", b"mine")


def test_a_body_that_drips_is_cut_off():
    seconds = iter(range(0, 10_000, 5))
    drops = iter(lambda: b"x", None)
    with pytest.raises(StorageError, match="too slow") as caught:
        bodies.whole("http://drip/a", drops, clock=lambda: float(next(seconds)))
    assert caught.value.transient
    assert next(seconds) <= bodies.GRACE_SECONDS + 10


def test_a_slow_body_that_goes_on_is_waited_for():
    seconds = iter(range(0, 10_000, 5))
    chunks = [bytes(2**20)] * 20
    assert len(bodies.whole("s3://b/a", chunks, clock=lambda: float(next(seconds)))) == 20 * 2**20


def test_bodies_are_bounded_and_complete():
    with pytest.raises(StorageError) as large:
        bodies.whole("http://b/a", iter(lambda: bytes(100), None), max_bytes=1000)
    assert (large.value.kind, large.value.transient) == ("too_large", False)
    with pytest.raises(StorageError, match="received 3 of 5"):
        bodies.whole("http://b/a", [b"abc"], expected=5)
