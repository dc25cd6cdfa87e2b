"""Ray starts beside other work, in a thread that leaves the session as its caller does."""

import contextlib
import threading

import pytest

from jobs.flow import execution, pipeline
from jobs.flow.early_ray import EarlyRay
from jobs.flow.execution import MOST_IMAGES_HERE, Execution
from jobs.flow.vitals import Vitals
from tests.jobs import collection
from tlg.errors import ClusterError
from tlg.spec import WorkersSpec


@pytest.fixture
def session(monkeypatch):
    """A session that tells what happens to it, and turns a ValueError into one of the cluster's."""
    seen = []

    @contextlib.contextmanager
    def told(address, workers):
        seen.append(("begun", threading.current_thread()))
        try:
            yield Vitals({"raylet": ("127.0.0.1", 1)})
        except ValueError as error:
            raise ClusterError("Ray is lost") from error
        except BaseException as error:
            seen.append(("stopped", type(error)))
            raise
        finally:
            seen.append(("ended", threading.current_thread()))

    monkeypatch.setattr(pipeline, "ray_session", told)
    return seen


def leave_with(error):
    with EarlyRay(None, WorkersSpec()) as early:
        early.vitals()
        raise error


def test_the_session_begins_and_ends_in_a_thread_of_its_own(session):
    with EarlyRay(None, WorkersSpec()) as early:
        assert "raylet" in early.vitals().addresses
        assert [what for what, _ in session] == ["begun"]
    (_, began), (_, ended) = session
    assert began is ended is not threading.main_thread()


def test_what_stops_the_job_stops_the_session(session):
    with pytest.raises(KeyboardInterrupt):
        leave_with(KeyboardInterrupt())
    assert ("stopped", KeyboardInterrupt) in session


def test_what_the_session_makes_of_an_error_is_what_is_raised(session):
    with pytest.raises(ClusterError, match="Ray is lost") as caught:
        leave_with(ValueError("a bare one of Ray's"))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_start_that_failed_matters_to_whoever_needs_ray(monkeypatch):
    def failing(*_):
        raise ClusterError("no room")

    monkeypatch.setattr(pipeline, "ray_session", failing)
    with EarlyRay(None, WorkersSpec()):
        pass
    with pytest.raises(ClusterError, match="no room"), EarlyRay(None, WorkersSpec()) as early:
        early.vitals()


def test_ray_starts_while_the_collection_is_listed(session, tmp_path, exemplar_folder, monkeypatch):
    monkeypatch.setattr(execution, "fits_here", lambda *_: True)
    spec = collection.spec(str(tmp_path / "images"), exemplar_folder, str(tmp_path / "out"))
    with Execution(spec, None, print) as running:
        running.expect(MOST_IMAGES_HERE)
        assert not session
        running.expect(MOST_IMAGES_HERE + 1)
        running.expect(MOST_IMAGES_HERE + 2)
    assert [what for what, _ in session] == ["begun", "ended"]


def test_where_ray_is_certain_it_starts_before_anything_is_listed(session, tmp_path, exemplar_folder, monkeypatch):
    monkeypatch.setattr(execution, "fits_here", lambda *_: False)
    spec = collection.spec(str(tmp_path / "images"), exemplar_folder, str(tmp_path / "out"))
    with Execution(spec, None, print) as running:
        running.expect(0)
        assert not session
        running.prepare()
    assert [what for what, _ in session] == ["begun", "ended"]


def test_ray_is_left_to_whoever_looks_at_the_collection_first(session, tmp_path, exemplar_folder, monkeypatch):
    monkeypatch.setattr(execution, "fits_here", lambda *_: False)
    spec = collection.spec(str(tmp_path / "images"), exemplar_folder, str(tmp_path / "out"))
    run = spec.run.model_copy(update={"background": "collection"})
    with Execution(spec.model_copy(update={"run": run}), None, print) as running:
        running.prepare()
        assert not session
        running.expect(1)
    assert [what for what, _ in session] == ["begun", "ended"]
