"""A real endpoint: `tlg serve` in a process of its own, replicas that die, and a polite end."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from tlg import exemplars
from tlg import pictures as images
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator
from tlg.answers import records
from tlg.client import WORTH_RETRYING, Client

pytestmark = pytest.mark.cluster
PARAMS = AnnotateParams()
# A replica that dies under load is replaced, and requests are answered again, within this time.
BACK_SECONDS = 30


@pytest.fixture
def animals(served, make_exemplars):
    served.http.put("/v1/exemplar-sets/animals", **make_exemplars(fox=2, bear=1)).raise_for_status()
    return served.http.get("/v1/exemplar-sets/animals").json()


def expected_rows(stored, contents):
    """The rows that a batch job writes for these images, as Parquet gives them back."""
    annotator = load_annotator("dry-run", exemplars.load(stored["uri"]), PARAMS)
    pictures = [images.decode(content, PARAMS.max_pixels) for content in contents]
    origin = records.Provenance(annotator.model_digest, stored["digest"], PARAMS.digest(), "run")
    rows = [
        [records.to_row(answer, f"{i}.png", None, origin) for answer in answers]
        for i, answers in enumerate(annotator.annotate(pictures))
    ]
    return [pa.Table.from_pylist(one, schema=records.SCHEMA).to_pylist() for one in rows]


def asked(served, content, number):
    answer = served.http.post(
        "/v1/annotate", files={"image": (f"{number}.png", content)}, data={"exemplars": "animals"}
    )
    assert answer.status_code == 200, answer.text
    return [row | {"run_id": "run"} for row in answer.json()["rows"]]


def test_many_at_once_get_the_rows_of_a_batch_job(served, animals, make_picture):
    contents = [make_picture(seed) for seed in range(48)]
    with ThreadPoolExecutor(16) as threads:
        online = list(threads.map(asked, [served] * 48, contents, range(48)))
    assert online == expected_rows(animals, contents)
    metrics = served.http.get("/metrics").text
    assert 'tlg_requests_total{method="POST",route="/v1/annotate",status="200"}' in metrics


def test_a_set_is_checked_by_a_replica_while_pictures_are_answered(served, animals, make_picture):
    with ThreadPoolExecutor(2) as threads:
        checking = threads.submit(served.http.post, "/v1/exemplar-sets/animals/check", params={"model": "tlg-tiny"})
        asked(served, make_picture(1), 1)
        checked = checking.result()
    assert checked.status_code == 200, checked.text
    warnings = {(one["class_name"], one["position"]): one["warning"] for one in checked.json()["exemplars"]}
    assert list(warnings) == [("fox", 1), ("fox", 2), ("bear", 1)]
    assert "only exemplar" in warnings["bear", 1]
    rehearsed = served.http.post("/v1/exemplar-sets/animals/check")
    assert (rehearsed.status_code, "network" in rehearsed.json()["detail"]) == (422, True)


def test_limits_hold_behind_the_proxy(served, make_picture):
    headers = {"content-type": "application/json"}
    chunks = (b"x" * 1_000_000 for _ in range(70))
    assert served.http.post("/v1/annotate", content=chunks, headers=headers).status_code == 413
    refused = served.http.post("/v1/annotate", content=b"{", headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert served.http.get("/v1/exemplar-sets", headers={"host": "evil.test"}).status_code == 403


@pytest.mark.parametrize("deployment", ["annotators", "api"])
def test_a_killed_replica_is_replaced_and_no_request_is_lost(served, animals, make_picture, deployment):
    contents = [make_picture(seed) for seed in range(60)]
    expected = expected_rows(animals, contents)
    statuses = []

    def annotate(number):
        if number == 10:
            statuses.extend(kill_and_wait_for_service(served, deployment, contents[number]))
        with Client(served.url) as client:
            rows = client.annotate(contents[number], "animals").rows
        return [row.rle.counts if row.rle else None for row in rows]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(annotate, range(60)))
    assert found == [[row["rle"]["counts"] if row["rle"] else None for row in rows] for rows in expected]
    assert served.http.get("/readyz").status_code == 200
    assert set(statuses) <= {200, *WORTH_RETRYING}, "a request failed in a way that is no invitation to try again"


def kill_and_wait_for_service(served, deployment, content):
    """The statuses of plain requests from a replica's SIGKILL to the first answer; it must come in time."""
    victim = served.replicas(deployment)[0]
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    statuses = []
    while not (200 in statuses and set(served.replicas(deployment)) - {victim}):
        assert time.monotonic() - killed_at < BACK_SECONDS, f"no service after {statuses}"
        files, data = {"image": ("q.png", content)}, {"exemplars": "animals"}
        statuses.append(served.http.post("/v1/annotate", files=files, data=data, timeout=BACK_SECONDS).status_code)
    assert time.monotonic() - killed_at < BACK_SECONDS
    return statuses


@pytest.mark.long
def test_a_polite_end_answers_what_is_in_flight(make_serving, make_exemplars, make_picture):
    endpoint = make_serving(model="dry-run:1.5")
    with Client(endpoint.url) as client:
        client.put_exemplar_set("animals", {"fox": [make_picture(1)]})
        with ThreadPoolExecutor(4) as threads:
            waiting = [threads.submit(client.annotate, make_picture(i), "animals") for i in range(4)]
            while "tlg_requests_in_flight 5.0" not in endpoint.http.get("/metrics").text:
                pass
            endpoint.process.send_signal(signal.SIGTERM)
            assert all(one.result().rows[0].status == "mask" for one in waiting)
    assert endpoint.process.wait(timeout=60) == 0
