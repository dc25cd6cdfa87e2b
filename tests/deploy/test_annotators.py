"""Batches, memory and failures behind the API; counts that add up."""

import asyncio
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from deploy.endpoint.app import PROVEN_SECONDS, RETRIES, STUCK_SECONDS, AnnotatorsDeployment, ServeSegmenter
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import Collector, Meters
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore, PackedSet
from deploy.replica import pool as pool_module
from deploy.replica.pool import AnnotatorPool, AskedSet, Outcome, Task
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
    assert records.at_min_score(lowest, min_score) == records.answer_from_mask("fox", 1, mask, score, 0.8, min_score)


def test_a_set_that_cannot_be_read_fails_its_own_images_alone(stored, make_pool, make_picture):
    pool, _ = make_pool(2)
    picture = pictures.decode(make_picture(1))
    good, bad = pool.answer([(task(b"", stored["fox"]), picture), (task(b"", "0" * 32), picture)])
    assert good.answers
    assert bad.problem[0] == 422


class Toy:
    """A model and its annotators, which fail as they are told; `log` says what was made and dropped, in order."""

    def __init__(self, log, name="toy"):
        self.log, self.name, self.errors, self.is_healthy = log, name, [], True
        log.append(f"load {name}")
        weakref.finalize(self, log.append, f"drop {name}")

    def with_exemplars(self, exemplars, params=None):
        return ToyAnnotator(self, exemplars, params)


class ToyAnnotator:
    model_digest = "toy"

    def __init__(self, model, exemplars, params):
        self.model, self.class_names = model, exemplars.class_names
        self.batches = []
        model.log.append(f"fit {self.class_names[0]}")
        weakref.finalize(self, model.log.append, f"drop {self.class_names[0]}")

    def annotate(self, asked_pictures, asked=None):
        self.batches.append(len(asked_pictures))
        for error in self.model.errors:
            if error(asked_pictures):
                raise error(asked_pictures)
        mask = np.ones((2, 2), bool)
        return [[records.answer_from_mask(self.class_names[0], 1, mask, 1.0, 1.0, 0.0)] for _ in asked_pictures]

    def release_memory(self):
        pass

    def healthy(self):
        return self.model.is_healthy


@pytest.fixture
def toys(monkeypatch):
    """Toy models by name as they are loaded, and the log of it all."""
    log, loaded = [], {}

    def load(name, device=None):
        made = Toy(log, name)
        loaded[name] = weakref.ref(made)
        return made

    monkeypatch.setattr(pool_module, "load_model", load)
    return log, loaded


def test_a_model_is_loaded_once_for_all_its_sets_and_leaves_with_the_last(stored, make_pool, make_picture, toys):
    log, _ = toys
    pool, _ = make_pool(2)
    picture = pictures.decode(make_picture(1))
    for name in ("fox", "bear", "kite"):
        pool.answer([(replace(task(b"", stored[name]), model="one"), picture)])
    # The oldest makes room before the next one is made.
    assert log == ["load one", "fit fox", "fit bear", "drop fox", "fit kite"]
    pool.answer([(replace(task(b"", stored["fox"]), model="two"), picture)])
    assert log[5:] == ["drop bear", "load two", "fit fox"]
    pool.answer([(replace(task(b"", stored["bear"]), model="two"), picture)])
    assert log[8:] == ["drop kite", "drop one", "fit bear"]


def test_a_batch_that_does_not_fit_is_halved_online_too(stored, make_pool, make_picture, toys):
    _, loaded = toys
    pool, _ = make_pool(2)
    batch = [(task(b"", stored["fox"]), pictures.decode(make_picture(seed))) for seed in range(4)]
    pool.answer(batch[:1])
    loaded["dry-run"]().errors = [lambda some: MemoryError() if len(some) > 2 else None]
    assert [outcome.answers[0].status for outcome in pool.answer(batch)] == ["mask"] * 4
    assert not pool.is_suspect


def test_a_set_that_does_not_fit_beside_the_others_is_loaded_in_their_place(stored, make_pool, make_picture, toys):
    log, loaded = toys
    pool, _ = make_pool(4)
    picture = pictures.decode(make_picture(1))
    pool.answer([(task(b"", stored["fox"]), picture)])
    model = loaded["dry-run"]()
    fits, tries = type(model).with_exemplars, []

    def too_much_at_first(exemplars, params=None):
        tries.append(exemplars.class_names)
        if len(tries) == 1:
            raise RuntimeError("CUDA out of memory")
        return fits(model, exemplars, params)

    model.with_exemplars = too_much_at_first
    (outcome,) = pool.answer([(task(b"", stored["bear"]), picture)])
    assert outcome.answers[0].class_name == "bear"
    assert log == ["load dry-run", "fit fox", "drop fox", "fit bear"]


def test_an_image_at_fault_fails_alone_and_a_broken_network_is_noticed(stored, make_pool, make_picture, toys):
    _, loaded = toys
    pool, _ = make_pool(2)
    some = [pictures.decode(make_picture(seed)) for seed in range(3)]
    batch = [(task(b"", stored["fox"]), picture) for picture in some]
    pool.answer(batch)
    model = loaded["dry-run"]()
    model.errors = [lambda asked: RuntimeError("odd") if any(one is some[1] for one in asked) else None]
    outcomes = pool.answer(batch)
    assert [bool(outcome.answers) for outcome in outcomes] == [True, False, True]
    assert outcomes[1].problem[:2] == (500, "internal")
    model.errors = [lambda asked: RuntimeError("CUDA error: an illegal memory access was encountered")]
    assert pool.answer(batch[:1])[0].problem[0] == 500
    assert pool.is_suspect
    assert not pool.works()
    model.errors = []
    assert pool.works()
    assert not pool.is_suspect
    model.is_healthy = False
    assert not pool.works()


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
    make_client().put("/v1/exemplar-sets/animals", **make_exemplars(fox=1)).raise_for_status()
    client = make_client(model="dry-run:3", limits={"timeout_seconds": 1})
    answer = client.post("/v1/annotate", files={"image": make_picture(1)}, data={"exemplars": "animals"})
    assert (answer.status_code, answer.json()["type"]) == (504, "urn:tlg:problem:timeout")


def test_inline_exemplars_are_shared_once_and_no_image_carries_them(make_client, make_exemplars, make_picture):
    shared, tasks = [], []

    class Segmenter(pool_module.LocalSegmenter):
        async def share(self, packed):
            shared.append(packed)
            return Reference(len(shared) - 1)

        async def annotate(self, task):
            tasks.append(task)
            return await super().annotate(task)

    class Reference:
        def __init__(self, place):
            self.place = place

        def load(self):
            return shared[self.place].load()

    client = make_client(segmenter=Segmenter)
    parts = make_exemplars(fox=3)
    images = [("image", (f"{seed}.png", make_picture(seed))) for seed in range(8)]
    answer = client.post("/v1/annotate/batch", files=[*parts["files"], *images], data=parts["data"])
    assert len(answer.json()["rows"]) == 8
    assert len(shared) == 1
    heavy = sum(map(len, shared[0].files.values()))
    assert all(not isinstance(task.exemplars.packed, pool_module.PackedSet) for task in tasks)
    assert heavy > 0
    assert len({id(task.exemplars) for task in tasks}) == 1


@pytest.mark.cluster
def test_a_set_in_rays_object_store_travels_as_a_reference(local_ray, make_exemplars, make_picture):
    packed = PackedSet(
        {"name": "one", "classes": [{"name": "fox", "exemplars": [{"image": "images/1"}]}]},
        {"images/1": make_picture(1)},
    )
    shared = asyncio.run(ServeSegmenter(None, Meters()).share(packed))
    assert shared.load().digest == packed.load().digest


def test_replicas_that_are_busy_are_ready_and_those_that_are_gone_are_not():
    def segmenter(*turns):
        made = ServeSegmenter(Handle(*turns), Meters())
        made._annotators.ready = made._annotators.annotate
        return made

    full = BackPressureError(num_queued_requests=9, max_queued_requests=9)
    assert asyncio.run(segmenter(full).ready())
    assert not asyncio.run(segmenter(ActorDiedError()).ready())

    async def just_answered():
        one = segmenter(Outcome([], "digest"))
        await one.annotate(None)
        return await one.ready()  # nobody is asked: the handle has no turn left

    assert asyncio.run(just_answered())


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


def test_a_process_that_is_gone_stays_in_the_sums_and_nowhere_else():
    now = [0.0]
    collector, meters = Collector(lambda: now[0]), Meters()
    collector.push("here", meters.samples())
    for _ in range(50):
        meters.answers.labels("mask").inc()
        collector.push(f"gone-{now[0]}", Meters("annotators").samples())
        one = Meters("annotators")
        one.answers.labels("mask").inc(2)
        collector.push(f"left-{now[0]}", one.samples())
        now[0] += 100
        collector.push("here", meters.samples())
    lines = collector.text().splitlines()
    assert 'tlg_answers_total{status="mask"} 150.0' in lines
    assert len(collector._copies) < 20
    assert 'tlg_replicas{deployment="api"} 1.0' in lines
    assert not any(line.startswith('tlg_replicas{deployment="annotators"}') for line in lines)


def test_what_an_operator_asks_for_is_measured(client, make_picture):
    client.post("/v1/annotate", files={"image": make_picture(1)}, data={"exemplars": "animals"}).raise_for_status()
    text = client.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    route = '{route="/v1/annotate"}'
    for name in ("tlg_request_duration_seconds_count", "tlg_request_seconds_count"):  # the older name for one version
        assert lines[f"{name}{route}"] == "1.0"
    assert float(lines['tlg_resident_memory_bytes{deployment="api"}']) > 1e6
    assert lines['tlg_replicas{deployment="api"}'] == "1.0"
    assert text.count("tlg_build_info{version=") == 1
    assert float(lines["tlg_images_waiting"]) == 0
    assert 'tlg_stage_duration_seconds_count{stage="decode"}' in lines


class Silent:
    """A collector's handle that nobody listens at."""

    class push:  # noqa: N801
        @staticmethod
        async def remote(*_):
            return None


@pytest.fixture
def replica(tmp_path):
    return AnnotatorsDeployment(ServeConfig(model="dry-run", store=str(tmp_path / "store")), Silent)


def test_a_replica_answers_and_says_that_it_is_well(replica, stored, make_picture):
    async def scenario():
        outcome = await replica.annotate(task(make_picture(1), stored["fox"]))
        await replica.check_health()
        return outcome, await replica.ready()

    outcome, is_ready = asyncio.run(scenario())
    assert outcome.answers[0].class_name == "fox"
    assert is_ready


def test_a_replica_that_broke_says_so_and_one_that_recovered_does_not(replica, stored, make_picture, toys):
    async def scenario():
        await replica.annotate(task(make_picture(1), stored["fox"]))
        model = toys[1]["dry-run"]()
        model.errors = [lambda _: RuntimeError("CUDA error: an illegal memory access was encountered")]
        outcome = await replica.annotate(task(make_picture(1), stored["fox"]))
        with pytest.raises(RuntimeError, match="no longer answer"):
            await replica.check_health()
        model.errors = []
        await replica.check_health()
        return outcome.problem[0]

    assert asyncio.run(scenario()) == 500


def test_an_idle_replica_proves_now_and_then_that_it_can_answer(replica, stored, make_picture, toys, monkeypatch):
    async def scenario():
        await replica.annotate(task(make_picture(1), stored["fox"]))
        toys[1]["dry-run"]().errors = [lambda _: RuntimeError("CUDA error: device-side assert")]
        await replica.check_health()  # it has answered just now
        replica._proven_at -= 2 * PROVEN_SECONDS
        with pytest.raises(RuntimeError, match="no longer answer"):
            await replica.check_health()
        toys[1]["dry-run"]().errors = []
        await replica.check_health()
        assert time.monotonic() - replica._proven_at < PROVEN_SECONDS

    asyncio.run(scenario())


def test_a_replica_whose_network_never_ends_says_so(replica, stored, monkeypatch):
    async def scenario():
        replica._busy_since = time.monotonic() - 2 * STUCK_SECONDS
        with pytest.raises(RuntimeError, match="in the network"):
            await replica.check_health()

    asyncio.run(scenario())


def test_a_replica_that_no_longer_decodes_says_so_and_is_not_ready(replica, monkeypatch):
    def broken(*_):
        raise MemoryError

    async def scenario():
        assert await replica.ready()
        monkeypatch.setattr(pictures, "guarded_decode", broken)
        assert not await replica.ready()
        with pytest.raises(RuntimeError, match="no longer decoded"):
            await replica.check_health()

    asyncio.run(scenario())
