"""Jobs on the page. What a real cluster says to submitting and stopping is in tests/jobs/test_submit.py."""

from datetime import datetime, timezone

import httpx
import pytest

from deploy.endpoint.cluster_jobs import cluster
from jobs.output.runs import RunSummary
from tests.deploy.page.test_sets import answer_question, inline
from tlg.store import DEFAULT_ACCESS

pytestmark = pytest.mark.cluster
STARTED = datetime(2026, 1, 2, tzinfo=timezone.utc)


@pytest.fixture
def remembered(monkeypatch):
    """What the cluster remembers; `stopped` and `submitted` are what it was told."""
    jobs, told = [], {"stopped": [], "submitted": []}

    def submit(spec, address):
        told["submitted"].append(spec)
        return cluster.SubmittedJob("traps-2", "PENDING", created=True)

    monkeypatch.setattr(cluster, "jobs", lambda address: jobs)
    monkeypatch.setattr(cluster, "status", lambda job_id, address: next(job for job in jobs if job.id == job_id))
    monkeypatch.setattr(cluster, "stop", lambda job_id, address: told["stopped"].append(job_id) or True)
    monkeypatch.setattr(cluster, "submit", submit)
    return jobs, told


def test_a_job_from_submission_to_report(make_endpoint, browser, discs, remembered, tmp_path):
    jobs, told = remembered
    pictures, output = tmp_path / "pictures", tmp_path / "out" / "traps"
    endpoint = make_endpoint(
        jobs_address="http://127.0.0.1:9", uri_prefixes=[str(pictures)], output_prefixes=[str(tmp_path / "out")]
    )
    httpx.put(f"{endpoint.url}/v1/exemplar-sets/discs", json=inline(*discs(1))).raise_for_status()
    summary = RunSummary("r1", "traps", str(output), started_at=STARTED.isoformat(), images=30, done=9, masks=7)
    summary.seconds_left = 40.0
    summary.write(DEFAULT_ACCESS)
    jobs.append(cluster.JobState("traps-1", "RUNNING", started_at=STARTED.timestamp(), output=str(output)))

    browser.open(f"{endpoint.url}/#jobs")
    browser.until(lambda: "about 40 seconds left" in "".join(browser.texts(".job")), "the time left is told")
    assert "9 of 30 images, 7 masks" in browser.one(".job").text
    browser.click("#report-traps-1")
    assert "written when a run ends" in browser.message()
    browser.click(".job summary")
    browser.until(lambda: browser.texts(".job tbody td")[1:3] == ["running", "9 of 30"], "its runs are listed")
    browser.click("#stop-traps-1")
    assert answer_question(browser, yes=True) == "Stop traps-1?"
    browser.until_message("traps-1 is asked to stop.")
    assert told["stopped"] == ["traps-1"]

    for field, text in (("name", "traps"), ("images", f"{pictures}/2026/"), ("output", str(output))):
        browser.one(f"#job-{field}").send_keys(text)
    browser.until(lambda: browser.all("#job-set option"), "the stored set is offered")
    browser.click("#job-submit")
    browser.until_message("Submitted as traps-2.")
    spec = told["submitted"][0]
    assert (spec.images.uri, spec.output.formats) == (f"{pictures}/2026/", ["parquet", "coco"])
    browser.script(
        "const s = arguments[0]; s.value = 'names://'; s.dispatchEvent(new Event('change'))", browser.one("#job-set")
    )
    browser.click("#job-submit")
    browser.until_message("Name a class")
    browser.one("#job-names").send_keys("red fox, badger")
    browser.click("#job-submit")
    browser.until(lambda: len(told["submitted"]) == 2, "a job of names alone is submitted")
    assert told["submitted"][1].exemplars == "names://red fox,badger"
    browser.one("#job-images").clear()
    browser.one("#job-images").send_keys("/elsewhere/")
    browser.click("#job-submit")
    browser.until_message("images.uri lies below none of the endpoint's `uri_prefixes`")
    assert not browser.errors(allowed=("403",))


def test_without_a_cluster_the_page_says_what_is_missing(endpoint, browser):
    browser.open(f"{endpoint.url}/#jobs")
    assert "jobs_address" in browser.one("#jobs-why").text
    browser.click("#job-submit")
    assert "jobs_address" in browser.message()
