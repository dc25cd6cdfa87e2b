"""The review of a job's output through the endpoint: only its own, only allowed pictures, always the answers of now."""

import pytest

from deploy.endpoint.cluster_jobs import cluster
from deploy.review import of_jobs
from jobs.review import verdicts
from tests.jobs import exported

REVIEW = "/v1/jobs/foxes-1/review"


@pytest.fixture
def out(tmp_path):
    return exported.write_output(tmp_path, 8)


@pytest.fixture
def reviewing(make_client, monkeypatch, out, tmp_path):
    known = [
        cluster.JobState("foxes-1", "SUCCEEDED", started_at=1.0, ended_at=2.0, output=str(out)),
        cluster.JobState("theirs-1", "SUCCEEDED", started_at=1.0, ended_at=2.0, output=str(tmp_path / "elsewhere")),
    ]
    monkeypatch.setattr(cluster, "status", lambda job_id, address: next(job for job in known if job.id == job_id))
    places = {"uri_prefixes": [str(tmp_path / "images")], "output_prefixes": [str(out)]}
    return lambda **changes: make_client(jobs_address="http://127.0.0.1:9", **(places | changes))


def verdict(client, picture, said, reviewer="Ann", at=0):
    answer = client.get(f"{REVIEW}/pictures/{picture['image_id']}").json()["answers"][at]
    one = {"class_name": answer["class_name"], "answer": answer["answer"], "verdict": said}
    return client.post(
        f"{REVIEW}/pictures/{picture['image_id']}/verdicts", json={"reviewer": reviewer, "verdicts": [one]}
    )


def test_a_verdict_is_in_the_output_and_can_be_taken_back(reviewing, out):
    client = reviewing()
    listed = client.get(REVIEW).json()["pictures"]
    assert len(listed) == 8
    first = next(one for one in listed if one["left"] == 2)
    assert client.get(f"{REVIEW}/pictures/{first['image_id']}/image").headers["content-type"] == "image/jpeg"
    told = verdict(client, first, "right").json()
    assert told["picture"]["left"] == 1
    assert [one.verdict for one in verdicts.read(str(out))] == ["right"]
    changed = next(one for one in client.get(REVIEW).json()["pictures"] if one["image_id"] == first["image_id"])
    assert changed["judged_at"] > first["judged_at"]
    assert verdict(client, first, "right", "Ben").json()["others"] == []
    assert verdict(client, first, "withdrawn").json()["picture"]["answers"][0]["said"]["reviewer"] == "Ben"
    assert [one.reviewer for one in verdicts.read(str(out))] == ["Ben"]
    assert "1 of 8" in client.get(f"{REVIEW}/figures").json()["lines"][0]


def test_others_outputs_and_pictures_elsewhere_are_not_shown(reviewing, tmp_path):
    assert reviewing().get("/v1/jobs/theirs-1/review").status_code == 403
    client = reviewing(uri_prefixes=[str(tmp_path / "others")])
    shown = client.get(REVIEW).json()["pictures"][0]["image_id"]
    assert client.get(f"{REVIEW}/pictures/{shown}/image").status_code == 403


def test_answers_that_came_since_are_shown_and_old_ones_not_judged(reviewing, out, tmp_path, monkeypatch):
    monkeypatch.setattr(of_jobs, "LOOK_SECONDS", -1.0)
    client = reviewing()
    before = client.get(REVIEW).json()
    assert client.get(REVIEW).json()["state"] == before["state"]
    number = 9
    image = exported.write_image(exported.image_path(tmp_path / "images", number), number)
    exported.commit(out, [exported.ImageAnswers(str(image), "1", exported.answers(number))], "r2")
    after = client.get(REVIEW).json()
    assert after["state"] != before["state"]
    assert len(after["pictures"]) == 9


def test_the_page_and_its_words_are_there(client):
    page = client.get("/review")
    assert "review/main.js" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    described = client.get("/openapi.json").json()["paths"]
    assert all(
        one["description"] for path, methods in described.items() if "/review" in path for one in methods.values()
    )
