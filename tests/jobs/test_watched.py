"""A source that falls silent or is lost is given up; one that is slow is not."""

import threading

import pytest

from jobs.flow import watched
from jobs.flow.vitals import RayLost
from jobs.flow.watched import Stalled


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(watched, "CLOSE_SECONDS", 0.01)


def calm():
    """Nothing is lost."""


def test_everything_comes_in_its_order():
    assert list(watched.watched(iter(range(100)), calm, lambda: 0.0)) == list(range(100))


def test_what_the_source_raises_is_raised():
    def source():
        yield 1
        raise ValueError("torn")

    tables = watched.watched(source(), calm, lambda: 0.0)
    assert next(tables) == 1
    with pytest.raises(ValueError, match="torn"):
        next(tables)


def test_silence_ends_a_job_that_hangs():
    never = threading.Event()

    def source():
        yield 1
        never.wait()

    tables = watched.watched(source(), calm, lambda: 1.0)
    assert next(tables) == 1
    with pytest.raises(Stalled, match="no sign of life") as caught:
        next(tables)
    assert caught.value.exit_code == 8
    never.set()


def test_a_loss_ends_the_wait_at_once():
    """Long before silence would."""
    never = threading.Event()

    def source():
        yield 1
        never.wait()

    def check():
        raise RayLost("the raylet is gone")

    tables = watched.watched(source(), check, lambda: 0.0)
    assert next(tables) == 1
    with pytest.raises(RayLost):
        next(tables)
    never.set()


def test_a_worker_that_gives_signs_of_life_is_waited_for():
    looked = []
    go_on = threading.Event()

    def source():
        go_on.wait()
        yield 1

    def seconds_silent():
        looked.append(1)
        if len(looked) == 3:
            go_on.set()
        return 0.0

    assert list(watched.watched(source(), calm, seconds_silent)) == [1]
    assert len(looked) >= 3


def test_a_source_that_is_not_wanted_any_more_is_closed():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    tables = watched.watched(source(), calm, lambda: 0.0)
    next(tables)
    tables.close()
    assert closed.wait(60)
