"""The endpoint behind its routes: cheap probes, no work for nobody, places that stay private."""

import asyncio
import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.endpoint import service as service_module
from deploy.endpoint.problems import ProblemError
from deploy.endpoint.service import Probe, all_or_none
from deploy.exemplar_store import ExemplarStore
from deploy.guard import fetch
from tlg import store
from tlg.errors import StorageError

KEY = "correct-horse-battery-staple"


def test_when_one_image_fails_the_others_are_not_worked_for():
    ended = []

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fails():
        raise ProblemError(503, "busy", "")

    async def scenario():
        with pytest.raises(ProblemError):
            await all_or_none([waits(), fails(), waits()])
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert ended == ["cancelled"] * 2


@pytest.mark.parametrize("sets", [1, 40])
def test_readiness_reads_no_set_and_asks_once_for_many(client, monkeypatch, sets, make_exemplars):
    for number in range(sets):
        client.put(f"/v1/exemplar-sets/set-{number}", **make_exemplars(fox=1)).raise_for_status()
    asked = {"read": 0, "entries": 0, "exists": 0}
    for name in asked:
        call = getattr(store, name)

        def counted(*arguments, name=name, call=call):
            asked[name] += 1
            return call(*arguments)

        monkeypatch.setattr(store, name, counted)
    monkeypatch.setattr(service_module, "PROBE_SECONDS", 1e9)
    for _ in range(20):
        assert client.get("/readyz").status_code == 200
    assert asked == {"read": 0, "entries": 0, "exists": 1}


class Segmenter:
    def __init__(self, is_ready=True):
        self.is_ready, self.asked = is_ready, 0

    async def ready(self):
        self.asked += 1
        await asyncio.sleep(0)
        return self.is_ready


def test_probes_that_come_together_ask_together_and_one_that_leaves_takes_nothing_away(tmp_path):
    async def scenario():
        segmenter = Segmenter()
        probe = Probe(segmenter, ExemplarStore(str(tmp_path)))
        probes = [asyncio.create_task(probe.check()) for _ in range(20)]
        await asyncio.sleep(0)
        probes[0].cancel()
        found = await asyncio.gather(*probes, return_exceptions=True)
        return segmenter.asked, found[0], set(found[1:])

    asked, left, others = asyncio.run(scenario())
    assert asked == 1
    assert isinstance(left, asyncio.CancelledError)
    assert others == {None}


def test_a_store_that_stalls_and_one_that_refuses_are_not_ready(tmp_path, monkeypatch):
    stalls = threading.Event()
    monkeypatch.setattr(service_module, "PROBE_PATIENCE_SECONDS", 0.05)

    def refused():
        raise StorageError("the store refuses access", denied=True)

    async def problem_with(is_reachable, segmenter):
        kept = ExemplarStore(str(tmp_path))
        kept.is_reachable = is_reachable
        with pytest.raises(ProblemError) as found:
            await Probe(segmenter, kept).check()
        return found.value.status, found.value.detail

    async def scenario():
        found = [await problem_with(stalls.wait, Segmenter()), await problem_with(refused, Segmenter())]
        stalls.set()
        return [*found, await problem_with(lambda: True, Segmenter(is_ready=False))]

    stalled, denied, no_replica = asyncio.run(scenario())
    assert stalled == (503, "the exemplar store does not answer")
    assert denied == (503, "the exemplar store: the store refuses access")
    assert no_replica == (503, "no model replica answers yet")


def test_other_machines_are_told_no_place_on_this_one(make_client, make_exemplars, make_picture, tmp_path):
    client = make_client(keys=[KEY])
    headers = {"x-api-key": KEY}
    stored = client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1), headers=headers).json()
    assert stored["uri"] is None
    answers = [client.get("/v1/exemplar-sets", headers=headers)]
    for path in (tmp_path / "store" / "sets" / stored["digest"] / "images").iterdir():
        path.unlink()
    asked = {"files": {"image": make_picture(1)}, "data": {"exemplars": "animals"}}
    answers.append(client.post("/v1/annotate", **asked, headers=headers))
    assert answers[-1].status_code == 422
    assert "animals" in answers[0].text
    assert not any(str(tmp_path) in answer.text for answer in answers)


def test_nothing_asked_is_nothing_answered(client, make_picture):
    image = {"data": base64.b64encode(make_picture(1)).decode()}
    asked = {"exemplars": "animals", "classes": [], "image": image}
    assert client.post("/v1/annotate", json=asked).json() == {"rows": []}
    drawn = client.post("/v1/annotate", json=asked | {"format": "png"})
    assert (drawn.status_code, drawn.json()["type"]) == (422, "urn:tlg:problem:invalid")


@pytest.mark.parametrize("name", ["\u200b", "\u2060\ufe0f", "\u00ad "])
def test_a_class_needs_a_name_that_can_be_seen(client, make_exemplars, name):
    answer = client.put("/v1/exemplar-sets/unseen", **make_exemplars(**{name: 1}))
    assert (answer.status_code, "can be seen" in answer.text) == (422, True)
    assert client.put("/v1/exemplar-sets/seen", **make_exemplars(**{"狐狸": 1, "🦊": 1})).status_code == 201


class Dripping(BaseHTTPRequestHandler):
    """A server of images that never ends its answer."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x")
        self.server.dripping.release()
        self.server.stop.wait()

    def log_message(self, *_):
        pass


class ManyAtOnce(ThreadingHTTPServer):
    request_queue_size, daemon_threads = 128, True


@pytest.fixture
def dripping():
    server = ManyAtOnce(("127.0.0.1", 0), Dripping)
    server.dripping, server.stop = threading.Semaphore(0), threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()


def test_slow_image_servers_hold_up_nobody_else(make_client, make_exemplars, make_picture, dripping, monkeypatch):
    """More requests hang than any pool has threads; the others are answered, exemplars with URIs included."""
    monkeypatch.setattr(fetch, "SECONDS", 600.0)  # no deadline ends the waiting before the test does
    with make_client(uri_prefixes=[dripping.url], limits={"timeout_seconds": 600}) as client:
        client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1)).raise_for_status()
        slow = {"image": {"uri": f"{dripping.url}/a.jpg"}, "exemplars": "animals"}
        taught = {"classes": [{"name": "fox", "exemplars": [{"image": slow["image"]}]}]}
        with ThreadPoolExecutor(24) as threads:
            hanging = [threads.submit(client.post, "/v1/annotate", json=slow) for _ in range(20)]
            hanging += [threads.submit(client.put, f"/v1/exemplar-sets/s{i}", json=taught) for i in range(4)]
            for _ in hanging:
                assert dripping.dripping.acquire(timeout=60)
            assert client.get("/readyz").status_code == 200
            assert client.get("/v1/exemplar-sets").status_code == 200
            quick = client.post("/v1/annotate", files={"image": make_picture(1)}, data={"exemplars": "animals"})
            assert quick.status_code == 200
            assert not any(one.done() for one in hanging)
            dripping.stop.set()
            assert {one.result().status_code for one in hanging} == {422}  # what came is no image
