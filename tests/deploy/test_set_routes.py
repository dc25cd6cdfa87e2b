"""Sets are sent once, read whole, and never overwritten by somebody who did not see the last change."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.endpoint import examples

DISC = examples.INLINE_SET.model_dump(mode="json", exclude_unset=True)


@pytest.fixture
def drawn(client):
    """A kept set with a box on one of its exemplars."""
    return client.post("/v1/exemplar-sets", json=DISC).json()


def refs(document):
    return [ref for of in document["classes"] for ref in of["exemplars"]]


def test_a_set_without_a_name_is_asked_by_its_digest(client, drawn, make_picture):
    listed = [one["name"] for one in client.get("/v1/exemplar-sets").json()["exemplar_sets"]]
    assert listed == ["animals"]
    answer = client.post("/v1/annotate", files={"image": make_picture(1)}, data={"exemplars": drawn["digest"]})
    assert {row["exemplars_digest"] for row in answer.json()["rows"]} == {drawn["digest"]}


def test_the_document_tells_drawings_and_names_images_that_can_be_read(client, drawn):
    document = client.get(f"/v1/exemplar-sets/{drawn['digest']}/document").json()
    assert [ref["boxes"] for ref in refs(document)] == [[[4.0, 8.0, 17.0, 17.0]], []]
    for ref, sent in zip(refs(document), refs(DISC), strict=True):
        digest, _, path = ref["image"].partition("/")
        answer = client.get(f"/v1/exemplar-sets/{digest}/{path}")
        assert answer.content == base64.b64decode(sent["image"]["data"])
        assert answer.headers["content-type"] == "image/png"
        assert "sandbox" in answer.headers["content-security-policy"]


def test_a_set_put_by_its_own_places_is_the_same_set(client, drawn):
    document = client.get(f"/v1/exemplar-sets/{drawn['digest']}/document").json()
    classes = [
        {
            "name": of["name"],
            "exemplars": [{"image": {"stored": ref["image"]}, "boxes": ref["boxes"]} for ref in of["exemplars"]],
        }
        for of in document["classes"]
    ]
    again = client.put("/v1/exemplar-sets/discs", json={"classes": classes})
    assert (again.status_code, again.json()["digest"]) == (201, drawn["digest"])


@pytest.mark.parametrize("place", ["0" * 32 + "/images/nothing", "{digest}/images/nothing"])
def test_a_place_that_holds_nothing_says_so(client, drawn, place):
    image = {"stored": place.format(digest=drawn["digest"])}
    answer = client.put("/v1/exemplar-sets/x", json={"classes": [{"name": "a", "exemplars": [{"image": image}]}]})
    assert answer.status_code == 404
    assert "upload it again" in answer.json()["detail"]


@pytest.mark.parametrize("place", ["../names/animals.json", "{digest}/set.json", "{digest}/images/../set.json"])
def test_places_lead_nowhere_else(client, drawn, place):
    image = {"stored": place.format(digest=drawn["digest"])}
    answer = client.put("/v1/exemplar-sets/x", json={"classes": [{"name": "a", "exemplars": [{"image": image}]}]})
    assert answer.status_code == 422


def test_a_condition_protects_what_somebody_else_put(client):
    path = "/v1/exemplar-sets/animals"
    first = client.get(path).json()["digest"]
    assert client.put(path, json=DISC, headers={"If-None-Match": "*"}).status_code == 412
    changed = client.put(path, json=DISC, headers={"If-Match": f'"{first}"'})
    assert changed.status_code == 200
    late = client.put(path, json=DISC, headers={"If-Match": f'"{first}"'})
    assert late.status_code == 412
    assert changed.json()["digest"] in late.json()["detail"]
    assert client.delete(path, headers={"If-Match": f'"{first}"'}).status_code == 412
    assert client.get(path).json()["digest"] == changed.json()["digest"]
    assert client.delete(path, headers={"If-Match": f'"{changed.json()["digest"]}"'}).status_code == 204


@pytest.mark.parametrize("headers", [{"If-Match": "*"}, {"If-Match": "abc"}, {"If-None-Match": "abc"}])
def test_conditions_that_mean_nothing_are_refused(client, headers):
    assert client.put("/v1/exemplar-sets/animals", json=DISC, headers=headers).status_code == 422


def test_of_many_who_make_a_name_at_once_one_does(client, make_exemplars):
    def put(number):
        body = {"classes": [{"name": f"class {number}", "exemplars": refs(DISC)[:1]}]}
        return client.put("/v1/exemplar-sets/new", json=body, headers={"If-None-Match": "*"}).status_code

    with ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(put, range(6)))
    assert sorted(statuses) == [201] + [412] * 5


def test_a_rehearsal_checks_nothing_and_says_so(client):
    answer = client.post("/v1/exemplar-sets/animals/check")
    assert answer.status_code == 422
    assert "network" in answer.json()["detail"]


def test_the_check_tells_of_each_exemplar_in_the_order_of_the_set(make_client):
    disc, other = refs(DISC)
    client = make_client(model="tlg-tiny")
    body = {"classes": [{"name": "disc", "exemplars": [disc, other]}, {"name": "lonely", "exemplars": [other]}]}
    client.put("/v1/exemplar-sets/mixed", json=body).raise_for_status()
    found = client.post("/v1/exemplar-sets/mixed/check").json()
    assert found["model"] == "tlg-tiny"
    assert [(one["class_name"], one["position"]) for one in found["exemplars"]] == [
        ("disc", 1), ("disc", 2), ("lonely", 1),
    ]  # fmt: skip
    assert found["exemplars"][0]["overlap"] is not None
    assert "only exemplar" in found["exemplars"][2]["warning"]
