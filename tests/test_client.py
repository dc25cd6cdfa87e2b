"""The Python client: typed answers, patience with a busy endpoint, none with a refusal."""

import asyncio
import inspect

import httpx
import pytest

from tlg import client as client_module
from tlg.client import AsyncClient, Client, EndpointError
from tlg.errors import InputError
from tlg.spec import AnnotateSpec

ROW = {"image_id": "a", "image_uri": "q.png", "status": "mask", "class_name": "fox", "score": 0.9}
ROW |= {"model_digest": "m", "exemplars_digest": "e", "params_digest": "p", "run_id": "r", "something": "newer"}
PROBLEM = {"type": "urn:tlg:problem:invalid", "title": "", "status": 422, "detail": "say what", "instance": ""}


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Pauses as they were asked for, without waiting."""
    asked = []

    async def sleep(seconds):
        asked.append(seconds)

    monkeypatch.setattr(client_module.time, "sleep", asked.append)
    monkeypatch.setattr(client_module.asyncio, "sleep", sleep)
    return asked


def answering(*answers):
    """A transport that gives these answers in turn, and keeps the requests."""
    remaining, requests = list(answers), []

    def handle(request):
        requests.append(request)
        answer = remaining.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx.MockTransport(handle)
    transport.requests = requests
    return transport


def rows():
    return httpx.Response(200, json={"rows": [ROW]})


def annotate_both(transport):
    """The same call through both clients."""

    async def later():
        async with AsyncClient("http://e", transport=transport) as client:
            return await client.annotate(b"bytes", "foxes", classes=["fox"], min_score=0.2)

    with Client("http://e", transport=transport) as client:
        return client.annotate(b"bytes", "foxes", classes=["fox"], min_score=0.2), asyncio.run(later())


def test_answers_are_typed_and_the_request_says_it_all():
    transport = answering(rows(), rows())
    for answers in annotate_both(transport):
        assert (answers.rows[0].class_name, answers.rows[0].score, answers.rows[0].rle) == ("fox", 0.9, None)
    for request in transport.requests:
        body = request.read()
        for part in (
            b'name="image"',
            b'name="exemplars"\r\n\r\nfoxes',
            b'name="min_score"\r\n\r\n0.2',
            b"\r\n\r\nfox\r\n",
        ):
            assert part in body


def test_busy_and_lost_are_tried_again(pauses):
    busy = [httpx.Response(503, headers={"retry-after": "7"}), httpx.ConnectError("refused"), httpx.Response(429)]
    again = [httpx.Response(503, headers={"retry-after": "7"}), httpx.ConnectError("refused"), httpx.Response(429)]
    transport = answering(*busy, rows(), *again, rows())
    annotate_both(transport)
    assert len(transport.requests) == 8
    waited = [pause for pause in pauses if pause]
    assert 3.5 <= waited[0] <= 10.5
    assert all(pause > 0 for pause in waited)


def test_a_body_that_arrived_too_late_is_sent_again():
    late = {"type": "urn:tlg:problem:timeout", "title": "", "status": 408, "detail": "too late", "instance": ""}
    transport = answering(httpx.Response(408, json=late), rows(), httpx.Response(408, json=late), rows())
    assert all(answers.rows for answers in annotate_both(transport))


def public_calls(kind):
    named = ((name, value) for name, value in vars(kind).items() if not name.startswith("_"))
    return {name: inspect.signature(value) for name, value in named if inspect.isfunction(value)}


def test_both_clients_have_the_same_calls():
    assert public_calls(AsyncClient) == public_calls(Client)
    waiting = {name for name, value in vars(AsyncClient).items() if inspect.iscoroutinefunction(value)}
    assert public_calls(Client).keys() <= waiting


SET = {"name": "foxes", "digest": "0" * 32, "classes": [], "negatives": 0}
COCO = {"images": [], "categories": [], "annotations": []}
JOB = {"id": "traps-1", "status": "PENDING"}
SPEC = AnnotateSpec.model_validate(
    {"name": "traps", "images": {"uri": "s3://a/"}, "exemplars": "foxes", "output": {"uri": "s3://b/"}}
)
CALLS = [
    (lambda client: client.ready(), {"status": "ok", "model": "m"}),
    (lambda client: client.put_exemplar_set("foxes", {"fox": [b"1", b"2"]}, [b"3"]), SET),
    (lambda client: client.exemplar_set("foxes"), SET),
    (lambda client: client.exemplar_sets(), {"exemplar_sets": [SET]}),
    (lambda client: client.delete_exemplar_set("foxes"), None),
    (lambda client: client.annotate(b"1", "foxes", ["fox"], 0.3, True, "m"), {"rows": [ROW]}),
    (lambda client: client.annotate_batch([b"1", b"2"], "foxes", ["fox"], 0.3, "m"), {"rows": [ROW]}),
    (lambda client: client.annotate_coco([b"1"], "foxes", 0.3), COCO),
    (lambda client: client.submit(SPEC), JOB),
    (lambda client: client.job("traps-1"), JOB),
]


@pytest.mark.parametrize(("call", "content"), CALLS)
def test_both_clients_send_and_answer_the_same(call, content):
    def answer():
        return httpx.Response(204) if content is None else httpx.Response(200, json=content)

    async def later():
        async with AsyncClient("http://e", transport=transport) as client:
            return await call(client)

    transport = answering(answer(), answer())
    with Client("http://e", transport=transport) as client:
        assert call(client) == asyncio.run(later())
    sent = [(one.method, str(one.url), parts_of(one)) for one in transport.requests]
    assert sent[0] == sent[1]


def parts_of(request):
    """The body without its random boundary."""
    boundary = request.headers.get("content-type", "").partition("boundary=")[2].encode()
    return request.read().replace(boundary, b"") if boundary else request.read()


def test_a_name_stays_one_part_of_the_path():
    transport = answering(httpx.Response(204))
    with Client("http://e", transport=transport) as client:
        client.delete_exemplar_set("../jobs?x")
    assert transport.requests[0].url.raw_path == b"/v1/exemplar-sets/..%2Fjobs%3Fx"


def test_refusals_are_not_tried_again():
    transport = answering(httpx.Response(422, json=PROBLEM))
    with Client("http://e", transport=transport) as client, pytest.raises(EndpointError, match="say what") as refused:
        client.exemplar_set("foxes")
    assert (refused.value.status, refused.value.kind) == (422, "invalid")


def test_patience_ends():
    transport = answering(*[httpx.ConnectError("refused")] * 6)
    with Client("http://e", transport=transport) as client, pytest.raises(EndpointError, match="cannot be reached"):
        client.ready()


def test_strangers_are_recognised():
    transport = answering(httpx.Response(200, text="<html>"))
    with Client("http://e", transport=transport) as client, pytest.raises(EndpointError, match="no answer of a tlg"):
        client.ready()


def test_keys_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("TLG_API_KEY", "a-key")
    transport = answering(httpx.Response(204))
    with Client("http://e", transport=transport) as client:
        client.delete_exemplar_set("foxes")
    assert transport.requests[0].headers["authorization"] == "Bearer a-key"


def test_missing_files_are_input_errors():
    with Client("http://e", transport=answering()) as client, pytest.raises(InputError, match="gone"):
        client.annotate("gone.jpg", "foxes")
