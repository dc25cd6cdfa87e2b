"""Batches, memory and failures behind the API; counts that add up."""

import asyncio

import numpy as np
import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from deploy.endpoint.app import RETRIES, ServeSegmenter
from deploy.endpoint.metrics import Collector, Meters
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore
from deploy.replica.pool import AnnotatorPool, AskedSet, Outcome, Task, at_min_score
from tlg import pictures
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator
from tlg.answers import records


@pytest.fixture
def stored(client, make_exemplars):
    """Three sets of one class each, by their digests."""
    digests = {}
    for name in ("fox", "bear", "kite"):
        answer = client.put(f"/v1/exemplar-sets/{name}", **make_exemplars(**{name: 1}))
        digests[name] = answer.json()["digest"]
    return digests


@pytest.fixture
def make_pool(tmp_path):
    def make(capacity):
        meters = Meters()
        return AnnotatorPool(ExemplarStore(str(tmp_path / "store")), capacity, None, meters), meters

    return make


def task(content, digest, min_score=0.5):
    return Task(content, "dry-run", AskedSet(digest), AnnotateParams(min_score=min_score), None)


def value(meters, name, **labels):
    return meters.registry.get_sample_value(name, labels)


def test_a_mixed_batch_gives_each_its_own_answers_in_order(stored, make_pool, make_picture):
    pool, meters = make_pool(4)
    names = ["fox", "bear", "fox", "kite", "bear", "fox"]
    tasks = [task(make_picture(seed), stored[name]) for seed, name in enumerate(names)]
    batch = [(one, pictures.decode(one.content)) for one in tasks]
    together = pool.answer(batch)
    assert [outcome.answers[0].class_name for outcome in together] == names
    assert together == [pool.answer([one])[0] for one in batch]
    assert value(meters, "tlg_batch_size_count") == 7


def test_the_least_recently_used_makes_room(stored, make_pool, make_picture):
    pool, meters = make_pool(2)
    picture = pictures.decode(make_picture(1))
    for name in ("fox", "bear", "fox", "kite", "fox", "bear"):
        pool.answer([(task(b"", stored[name]), picture)])
    assert value(meters, "tlg_annotator_lookups_total", found="no") == 4  # fox, bear, kite, bear again
    assert value(meters, "tlg_annotator_lookups_total", found="yes") == 2


def test_every_min_score_is_answered_by_one_annotator(stored, make_pool, make_picture):
    pool, meters = make_pool(1)
    picture = pictures.decode(make_picture(1))
    scores = (0.0, 0.3, 0.5, 1.0)
    batch = [(task(b"", stored["fox"], min_score), picture) for min_score in scores]
    answers = [outcome.answers for outcome in pool.answer(batch)]
    loaded = pool._store.load(stored["fox"])
    assert answers == [
        load_annotator("dry-run", loaded, AnnotateParams(min_score=min_score)).annotate([picture])[0]
        for min_score in scores
    ]
    assert value(meters, "tlg_annotator_lookups_total", found="no") == 1


@pytest.mark.parametrize("score", [0.0, 0.49, 0.5, 0.9])
@pytest.mark.parametrize("min_score", [0.0, 0.5, 0.9, 1.0])
def test_a_score_below_the_asked_one_is_absent_as_the_annotator_says_it(score, min_score):
    mask = np.eye(5, dtype=bool)
    lowest = records.answer_from_mask("fox", 1, mask, score, 0.8, 0.0)
    assert at_min_score(lowest, min_score) == records.answer_from_mask("fox", 1, mask, score, 0.8, min_score)


def test_a_set_that_cannot_be_read_fails_its_own_images_alone(stored, make_pool, make_picture):
    pool, _ = make_pool(2)
    picture = pictures.decode(make_picture(1))
    good, bad = pool.answer([(task(b"", stored["fox"]), picture), (task(b"", "0" * 32), picture)])
    assert good.answers
    assert bad.problem[0] == 422


class Method:
    """A deployment handle's method that raises, or answers, in turn."""

    def __init__(self, *turns):
        self.turns = list(turns)

    async def remote(self, *_):
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn


class Handle:
    def __init__(self, *turns):
        self.annotate = Method(*turns)


@pytest.fixture
def no_pauses(monkeypatch):
    async def sleep(_seconds):
        return None

    monkeypatch.setattr(asyncio, "sleep", sleep)


def test_an_image_whose_replica_died_goes_to_another(no_pauses):
    meters, answer = Meters(), Outcome([], "digest")
    segmenter = ServeSegmenter(Handle(ActorDiedError(), ActorDiedError(), answer), meters)
    assert asyncio.run(segmenter.annotate(None)) == answer
    assert value(meters, "tlg_replica_retries_total") == 2


def test_no_replica_and_full_queues_are_clean_refusals(no_pauses):
    dead = ServeSegmenter(Handle(*[ActorDiedError()] * (RETRIES + 1)), Meters())
    full = ServeSegmenter(Handle(BackPressureError(num_queued_requests=9, max_queued_requests=9)), Meters())
    for segmenter in (dead, full):
        with pytest.raises(ProblemError) as refused:
            asyncio.run(segmenter.annotate(None))
        assert refused.value.status == 503
        assert int(refused.value.headers["Retry-After"]) > 0


def test_late_answers_are_a_timeout(make_client, make_exemplars, make_picture):
    client = make_client(model="dry-run:1", limits={"timeout_seconds": 0.05})
    client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1)).raise_for_status()
    answer = client.post("/v1/annotate", files={"image": make_picture(1)}, data={"exemplars": "animals"})
    assert (answer.status_code, answer.json()["type"]) == (504, "urn:tlg:problem:timeout")


def test_counts_of_all_processes_add_up_and_never_fall():
    collector, one, other = Collector(), Meters(), Meters()
    one.answers.labels("mask").inc(3)
    other.answers.labels("mask").inc(4)
    other.batch_size.observe(2)
    collector.push(one.source, one.samples())
    collector.push(other.source, other.samples())
    collector.push(other.source, other.samples())  # the same again counts once
    lines = collector.text().splitlines()
    assert 'tlg_answers_total{status="mask"} 7.0' in lines
    assert 'tlg_batch_size_bucket{le="2.0"} 1.0' in lines
    assert lines.count("# TYPE tlg_answers_total counter") == 1
