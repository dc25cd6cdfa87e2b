"""Jobs as the page shows them: only what writes where the endpoint may write is told, stopped and opened."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from deploy.endpoint import cluster_jobs
from deploy.endpoint.cluster_jobs import cluster
from jobs.output.runs import RunSummary
from tlg.store import DEFAULT_ACCESS

STARTED = datetime(2026, 1, 2, tzinfo=timezone.utc)


@pytest.fixture
def output(tmp_path):
    return str(tmp_path / "out" / "traps")


@pytest.fixture
def client(make_client, monkeypatch, output, tmp_path):
    """An endpoint whose cluster remembers a job of its own, another's, and one that has not begun."""
    known = [
        cluster.JobState("theirs-1", "SUCCEEDED", started_at=1.0, ended_at=2.0, output=str(tmp_path / "elsewhere")),
        cluster.JobState("traps-1", "RUNNING", started_at=STARTED.timestamp(), output=output),
        cluster.JobState("later-1", "PENDING"),
    ]
    monkeypatch.setattr(cluster, "jobs", lambda address: known)
    monkeypatch.setattr(cluster, "status", lambda job_id, address: next(job for job in known if job.id == job_id))
    monkeypatch.setattr(cluster, "stop", lambda job_id, address: True)
    return make_client(jobs_address="http://127.0.0.1:9", output_prefixes=[str(tmp_path / "out")])


def record(output, run_id="r1", **values):
    summary = RunSummary(run_id, "traps", output, started_at=STARTED.isoformat(), images=30, done=9, masks=7)
    for name, value in values.items():
        setattr(summary, name, value)
    summary.write(DEFAULT_ACCESS)


def test_jobs_come_newest_first_with_how_far_they_are(client, output):
    record(output, seconds_left=40.0)
    found = client.get("/v1/jobs").json()["jobs"]
    assert [job["id"] for job in found] == ["later-1", "traps-1", "theirs-1"]
    assert {key: found[1]["run"][key] for key in ("state", "done", "images", "masks", "seconds_left")} == {
        "state": "running", "done": 9, "images": 30, "masks": 7, "seconds_left": 40.0,
    }  # fmt: skip
    assert (found[2]["output"], found[2]["run"]) == (None, None)


def test_a_run_that_fell_silent_promises_no_time(client, output):
    record(output, seconds_left=40.0)
    path = next(iter(Path(output, "runs").glob("*.json")))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"updated_at": "2026-01-02T00:00:10+00:00"}))
    run = client.get("/v1/jobs").json()["jobs"][1]["run"]
    assert (run["state"], run["seconds_left"]) == ("silent", None)


def test_the_nights_of_a_job_come_newest_first(client, output):
    record(output, "20260101T000000.000000Z", state="succeeded")
    record(output, "20260102T000000.000000Z", state="failed", message="the store went away")
    runs = client.get("/v1/jobs/traps-1/runs").json()["runs"]
    assert [(run["state"], run["message"]) for run in runs] == [("failed", "the store went away"), ("succeeded", "")]


def test_a_report_is_sealed_and_one_that_is_not_there_says_when_it_comes(client, output, tmp_path):
    assert client.get("/v1/jobs/traps-1/report").json()["detail"].endswith("it is written when a run ends")
    folder = tmp_path / "out" / "traps" / "report"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<h1>traps</h1><script>alert(1)</script>")
    answer = client.get("/v1/jobs/traps-1/report")
    assert answer.text.startswith("<h1>traps</h1>")
    assert "script" not in answer.headers["content-security-policy"]
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("method", "what"), [("get", "runs"), ("get", "report"), ("post", "stop")])
def test_what_writes_elsewhere_is_not_opened_or_stopped(client, method, what):
    assert getattr(client, method)(f"/v1/jobs/theirs-1/{what}").status_code == 403


def test_a_job_of_this_endpoint_is_stopped(client):
    assert client.post("/v1/jobs/traps-1/stop").json() == {"stopped": True}


def test_the_first_record_of_an_older_run_is_no_progress(client, output):
    record(output)
    older = cluster_jobs.runs.recorded(output)[0] | {"started_at": "2025-12-31T00:00:00+00:00"}
    path = next(iter(Path(output, "runs").glob("*.json")))
    path.write_text(json.dumps(older))
    assert client.get("/v1/jobs").json()["jobs"][1]["run"] is None
