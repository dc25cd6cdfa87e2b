"""Labelling tools' own shapes of request and answer; test_tool_sdks.py asks the tools themselves."""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from deploy.connectors import label_studio_sets as sets
from deploy.connectors.label_studio_lessons import Lesson
from deploy.connectors.label_studio_regions import Shown, labels_of
from deploy.connectors.labeling_config import find_control
from deploy.exemplar_store import ExemplarStore, PackedSet
from tlg import exemplars
from tlg.answers.formats import label_studio

CONFIG = """<View><Image name="img" value="$picture"/>
<BrushLabels name="tag" toName="img"><Label value="fox"/><Label value="bear"/></BrushLabels></View>"""


PERSONAL_TOKEN = "eyJhbGciOi.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"


@pytest.fixture
def studio(make_picture):
    """Label Studio's file server, which wants a token."""
    pictures = {f"/data/upload/{i}.png": make_picture(i) for i in range(4)}
    exported, accepted, exchanges = [], {"Token studio-token"}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = pictures.get(self.path)
            if self.path == "/api/projects/7/export?exportType=JSON":
                body = json.dumps(exported).encode()
            allowed = self.headers.get("Authorization") in accepted
            self.send_response(401 if not allowed else 200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"" if allowed else b"")

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            exchanges.append(asked)
            known = self.path == "/api/token/refresh/" and asked == {"refresh": PERSONAL_TOKEN}
            access = f"access-{len(exchanges)}"
            accepted.clear()
            accepted.add(f"Bearer {access}")
            body = json.dumps({"access": access} if known else {"detail": "Token is invalid"}).encode()
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url, server.pictures, server.exported = f"http://127.0.0.1:{server.server_port}", pictures, exported
    server.accepted, server.exchanges = accepted, exchanges
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def backend(make_client, make_exemplars, studio, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "studio-token")
    with make_client(label_studio={"url": studio.url}) as client:  # one event loop, as a server has
        client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1, bear=1)).raise_for_status()
        yield client


def mask_of(client, content):
    rows = client.post("/v1/annotate", files={"image": content}, data={"exemplars": "animals"}).json()["rows"]
    rle = rows[0]["rle"]
    return coco_mask.decode(rle | {"counts": rle["counts"].encode()}).astype(bool)


def test_label_studio_gets_the_masks_of_its_tasks(backend, studio):
    assert backend.get("/ls/health").json()["status"] == "UP"
    assert backend.get("/ls/").json()["status"] == "UP"
    started = time.perf_counter()
    setup = {"project": "7.176", "schema": CONFIG, "extra_params": '{"exemplars": "animals"}'}
    version = backend.post("/ls/setup", json=setup | {"hostname": studio.url, "access_token": "x"}).json()
    assert time.perf_counter() - started < 1
    assert version["model_version"].startswith("dry-run, animals ")
    tasks = [{"id": i, "data": {"picture": f"/data/upload/{i}.png"}} for i in range(3)]
    tasks.append({"id": 9, "data": {"picture": "/data/upload/gone.png"}})
    asked = {"tasks": tasks, "project": "7.176", "label_config": CONFIG, "params": {}}
    results = backend.post("/ls/predict", json=asked).json()["results"]
    assert [len(one["result"]) for one in results] == [1, 1, 1, 0]
    region = results[1]["result"][0]
    assert (region["from_name"], region["to_name"], region["type"]) == ("tag", "img", "brushlabels")
    assert region["value"]["brushlabels"] == ["fox"]
    drawn = label_studio.decode_brush(region["value"]["rle"], region["original_height"], region["original_width"])
    np.testing.assert_array_equal(drawn, mask_of(backend, studio.pictures["/data/upload/1.png"]))


def webhook(task, labels, mask=None):
    value = {"brushlabels": labels}
    region = {"type": "brushlabels", "original_width": 48, "original_height": 32, "value": value}
    if mask is not None:
        value |= {"format": "rle", "rle": label_studio.encode_brush(mask)}
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 1, "result": [region]},
        "task": {"id": task, "data": {"picture": f"/data/upload/{task}.png"}},
        "project": {"id": 7, "label_config": CONFIG},
    }


def test_labelled_tasks_become_the_projects_exemplars(backend, studio):
    mask = np.zeros((32, 48), bool)
    mask[4:9, 5:20] = True
    assert backend.post("/ls/webhook", json=webhook(0, ["fox"], mask)).status_code == 201
    backend.post("/ls/webhook", json=webhook(1, ["bear"]))
    backend.post("/ls/webhook", json=webhook(2, ["fox"]))
    stored = backend.get("/v1/exemplar-sets/label-studio-7").json()
    assert [(one["name"], one["exemplars"], one["masks"]) for one in stored["classes"]] == [
        ("fox", 2, 1),
        ("bear", 1, 0),
    ]
    np.testing.assert_array_equal(exemplars.load(stored["uri"]).classes[0].exemplars[0].mask, mask)
    backend.post("/ls/webhook", json=webhook(2, ["bear"]))  # labelled anew
    stored = backend.get("/v1/exemplar-sets/label-studio-7").json()
    assert [(one["name"], one["exemplars"]) for one in stored["classes"]] == [("fox", 1), ("bear", 2)]
    asked = {"tasks": [{"id": 3, "data": {"picture": "/data/upload/3.png"}}], "project": "7", "label_config": CONFIG}
    assert (
        backend.post("/ls/predict", json=asked)
        .json()["results"][0]["model_version"]
        .startswith("dry-run, label-studio-7")
    )


def drawn_region(kind, labels=("fox",), **value):
    more = {"is_positive": value.pop("is_positive")} if "is_positive" in value else {}
    size = {"original_width": 48, "original_height": 32}
    return {"type": kind, **size, **more, "value": {kind: list(labels), **value}}


def shown(*regions):
    return labels_of({"annotations": [{"result": list(regions)}]})["fox"]


@pytest.mark.parametrize(
    ("region", "drawing"),
    [
        (drawn_region("rectanglelabels", x=25, y=50, width=50, height=25, rotation=0), {"boxes": [[12, 16, 24, 8]]}),
        (drawn_region("rectanglelabels", x=50, y=25, width=25, height=50, rotation=90), {"boxes": [[8, 8, 16, 12]]}),
        (drawn_region("rectanglelabels", x=75, y=50, width=50, height=25), {"boxes": [[36, 16, 12, 8]]}),
        (drawn_region("keypointlabels", x=25, y=50, width=1), {"points": [[12, 16]]}),
        (
            drawn_region("polygonlabels", points=[[0, 0], [50, 0], [50, 50]], closed=True),
            {"polygons": [[[0, 0], [24, 0], [24, 16]]]},
        ),
        (drawn_region("rectanglelabels", x=25, y=50, width=0, height=25), {}),
        (drawn_region("rectanglelabels", x="far", y=50, width=10, height=25), {}),
        (drawn_region("keypointlabels", x=float("nan"), y=50), {}),
        (drawn_region("polygonlabels", points=[[0, 0], [50, 0]]), {}),
        (drawn_region("polygonlabels", points=5), {}),
        (drawn_region("keypointlabels", x=25, y=50, is_positive=0), {}),  # beside the class alone
    ],
)
def test_what_was_drawn_is_read_in_pixels_and_what_cannot_be_read_still_names_its_label(region, drawing):
    assert shown(region).drawing.model_dump(exclude_defaults=True) == exemplars.Drawing(**drawing).model_dump(
        exclude_defaults=True
    )


def test_drawings_of_one_label_join_and_negative_keypoints_lie_beside_it():
    box = drawn_region("rectanglelabels", x=25, y=50, width=50, height=25)
    off = drawn_region("keypointlabels", x=50, y=50, is_positive=0)
    other = drawn_region("keypointlabels", ["bear"], x=75, y=50)
    drawing = shown(box, off, other, box).drawing
    assert (drawing.boxes, drawing.points, drawing.not_points) == ([(12, 16, 24, 8)] * 2, [], [(24, 16)])


def test_an_ellipse_is_an_outline():
    (outline,) = shown(drawn_region("ellipselabels", x=50, y=50, radiusX=25, radiusY=25)).drawing.polygons
    across, down = zip(*outline, strict=True)
    assert (min(across), max(across)) == pytest.approx((12, 36))
    assert (min(down), max(down)) == pytest.approx((8, 24))


def test_drawn_tasks_become_the_projects_exemplars(backend, studio):
    event = webhook(0, ["fox"])
    box = drawn_region("rectanglelabels", x=25, y=50, width=50, height=25)
    event["annotation"]["result"] = [box, drawn_region("keypointlabels", ["bear"], x=75, y=75)]
    assert backend.post("/ls/webhook", json=event).status_code == 201
    backend.post("/ls/webhook", json=webhook(1, ["fox"]))
    stored = backend.get("/v1/exemplar-sets/label-studio-7").json()
    assert [(one["name"], one["exemplars"], one["drawings"]) for one in stored["classes"]] == [
        ("fox", 2, 1),
        ("bear", 1, 1),
    ]
    fox, bear = exemplars.load(stored["uri"]).classes
    assert fox.exemplars[0].drawing.boxes == [(12, 16, 24, 8)]
    assert bear.exemplars[0].drawing.points == [(36, 24)]


def predicted(client, *numbers):
    tasks = [{"id": i, "data": {"picture": f"/data/upload/{i}.png"}} for i in numbers]
    asked = {"tasks": tasks, "project": "7", "label_config": CONFIG, "params": {}}
    return [len(one["result"]) for one in client.post("/ls/predict", json=asked).json()["results"]]


def test_a_personal_access_token_is_exchanged_and_again_when_it_has_run_out(backend, studio, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", PERSONAL_TOKEN)
    studio.accepted.clear()
    backend.post("/ls/setup", json={"project": "7", "schema": CONFIG, "extra_params": "animals"})
    assert predicted(backend, 0, 1) == [1, 1]
    assert predicted(backend, 2) == [1]
    assert studio.exchanges == [{"refresh": PERSONAL_TOKEN}]
    studio.accepted.clear()  # the access token has run out
    assert predicted(backend, 0, 1, 2, 3) == [1, 1, 1, 1]
    assert len(studio.exchanges) == 2
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "studio-token")  # a legacy token, from now on
    studio.accepted.add("Token studio-token")
    assert predicted(backend, 3) == [1]
    assert len(studio.exchanges) == 2


def test_a_personal_access_token_that_nobody_knows_is_said_in_the_log(backend, studio, monkeypatch, caplog):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a.b.c")
    backend.post("/ls/setup", json={"project": "7", "schema": CONFIG, "extra_params": "animals"})
    assert predicted(backend, 0) == [0]
    assert "takes no such personal access token" in caplog.text


def test_what_a_person_skipped_teaches_nothing(backend, studio):
    skipped = webhook(0, ["fox"])
    skipped["annotation"]["was_cancelled"] = True
    assert backend.post("/ls/webhook", json=skipped).status_code == 201
    assert backend.get("/v1/exemplar-sets/label-studio-7").status_code == 404


@pytest.mark.parametrize(
    "annotation",
    [
        {"result": 5},
        {"result": "fox"},
        {"result": [{"value": {"brushlabels": 5}}]},
        {"result": [{"value": {"brushlabels": "fox"}}]},
        {"result": [5, None, {"value": 5}, {"value": {"brushlabels": [None, 5, " "]}}]},
        {"result": [{"value": {"brushlabels": ["\u200b"]}}]},
    ],
)
def test_annotations_that_make_no_sense_teach_nothing_and_break_nothing(backend, studio, annotation):
    event = webhook(0, ["fox"]) | {"annotation": annotation}
    assert backend.post("/ls/webhook", json=event).status_code == 201
    assert backend.get("/v1/exemplar-sets/label-studio-7").status_code == 404
    assert backend.post("/ls/webhook", json=webhook(1, ["fox"])).status_code == 201
    assert [one["name"] for one in backend.get("/v1/exemplar-sets/label-studio-7").json()["classes"]] == ["fox"]


def test_brush_regions_of_unlike_sizes_do_not_fail_the_request(backend, studio):
    event = webhook(0, ["fox"], np.ones((32, 48), bool))
    other = webhook(0, ["fox"], np.ones((8, 9), bool))["annotation"]["result"][0]
    other |= {"original_width": 9, "original_height": 8}
    event["annotation"]["result"].append(other)
    assert backend.post("/ls/webhook", json=event).status_code == 201
    assert backend.get("/v1/exemplar-sets/label-studio-7").json()["classes"][0]["masks"] == 1


@pytest.mark.parametrize("exported", [b"{}", b"not json", b"[5, null]"])
def test_an_export_that_is_none_is_label_studios_fault(backend, studio, exported):
    studio.pictures["/api/projects/8/export?exportType=JSON"] = exported
    answer = backend.post("/ls/webhook", json={"action": "START_TRAINING", "project": {"id": 8}})
    assert answer.status_code == (201 if exported.startswith(b"[") else 502)


def lesson(number, make_picture, *names):
    return Lesson(str(number), make_picture(number), dict.fromkeys(names, Shown()))


def test_two_replicas_that_teach_at_the_same_time_lose_no_lesson(tmp_path, make_picture):
    here, there = ExemplarStore(str(tmp_path)), ExemplarStore(str(tmp_path))
    put, met = here.put, []

    def put_after_the_other(name, packed):
        if not met:  # what `here` is about to write was made before `there` taught
            met.append(name)
            sets.teach(there, "7", [lesson(2, make_picture, "bear")], 10)
        return put(name, packed)

    here.put = put_after_the_other
    sets.teach(here, "7", [lesson(1, make_picture, "fox")], 10)
    assert met
    assert {one.name: one.exemplars for one in here.get("label-studio-7").classes} == {"bear": 1, "fox": 1}


def test_many_replicas_lose_no_lesson(tmp_path, make_picture):
    with ThreadPoolExecutor(4) as threads:
        list(
            threads.map(
                lambda number: sets.teach(
                    ExemplarStore(str(tmp_path)), "7", [lesson(number, make_picture, "fox", "Bear"[: number + 1])], 99
                ),
                range(8),
            )
        )
    stored = ExemplarStore(str(tmp_path)).get("label-studio-7")
    assert {one.name: one.exemplars for one in stored.classes}["fox"] == 8


def test_only_the_latest_of_each_class_are_used(tmp_path, make_picture):
    store = ExemplarStore(str(tmp_path))
    for number in range(5):
        sets.teach(store, "7", [lesson(number, make_picture, "fox")], 3)
    packed = store.packed("label-studio-7")
    assert sorted(packed.files.values()) == sorted(make_picture(number) for number in (2, 3, 4))


def test_a_picture_that_cannot_be_decoded_keeps_nobody_from_learning(tmp_path, make_picture):
    store = ExemplarStore(str(tmp_path))
    cut = Lesson("1", make_picture(1)[:-60], {"fox": Shown()})
    sets.teach(store, "7", [cut, lesson(2, make_picture, "fox")], 10)
    sets.teach(store, "7", [lesson(3, make_picture, "FOX")], 10)
    assert [(one.name, one.exemplars) for one in store.get("label-studio-7").classes] == [("fox", 2)]


def test_what_an_older_version_learned_is_kept(tmp_path, make_picture):
    store = ExemplarStore(str(tmp_path))
    files = {"images/task-1": make_picture(1), "images/task-2": make_picture(2)}
    classes = [{"name": "fox", "exemplars": [{"image": place} for place in files]}]
    store.put("label-studio-7", PackedSet({"classes": classes, "negatives": []}, files))
    sets.teach(store, "7", [lesson(3, make_picture, "bear")], 10)
    assert [(one.name, one.exemplars) for one in store.get("label-studio-7").classes] == [("fox", 2), ("bear", 1)]


def test_training_reads_the_whole_project(backend, studio):
    for i in range(3):
        one = webhook(i, ["fox" if i else "bear"])
        studio.exported.append(one["task"] | {"annotations": [one["annotation"]]})
    event = {"action": "START_TRAINING", "project": {"id": 7, "label_config": CONFIG}}
    assert backend.post("/ls/webhook", json=event).status_code == 201
    stored = backend.get("/v1/exemplar-sets/label-studio-7").json()
    assert {one["name"]: one["exemplars"] for one in stored["classes"]} == {"bear": 1, "fox": 2}


@pytest.mark.parametrize(
    "body",
    [
        {"tasks": [{"id": 1, "data": {"picture": "http://169.254.169.254/"}}], "label_config": CONFIG, "project": "7"},
        {"tasks": [{"id": 1, "data": {"picture": "/etc/passwd"}}], "label_config": CONFIG, "project": "7"},
        {"tasks": [{"id": 1, "data": {"picture": "/data/../api/users"}}], "label_config": CONFIG, "project": "7"},
        {"tasks": [{"id": 1, "data": None}], "label_config": CONFIG, "project": "7"},
        {"tasks": [{}], "label_config": "<View", "project": "../../etc"},
        {"tasks": [{}], "label_config": '<!DOCTYPE a [<!ENTITY b "bbbb">]><View>&b;</View>', "project": None},
    ],
)
def test_hostile_tasks_have_empty_results(backend, body):
    backend.post("/ls/setup", json={"project": "7", "schema": CONFIG, "extra_params": "animals"})
    answer = backend.post("/ls/predict", json=body)
    assert answer.status_code == 200
    assert [one["result"] for one in answer.json()["results"]] == [[]]


def test_controls_are_found_by_what_they_can_show():
    both = CONFIG.replace(
        "</View>", '<RectangleLabels name="box" toName="img"><Label value="fox"/></RectangleLabels></View>'
    )
    assert find_control(both).kind == "brushlabels"
    assert find_control(both).data_key == "picture"
    assert find_control("<View><Text name='t' value='$t'/></View>") is None


def test_x_anylabeling_lists_sets_and_gets_polygons(client, make_picture):
    assert client.get("/health").json()["status"] == "healthy"
    models = client.get("/v1/models").json()["data"]
    assert models["animals"]["display_name"] == "tlg: animals"
    content = make_picture(1)
    image = "data:image/png;base64," + base64.b64encode(content).decode()
    answer = client.post(
        "/v1/predict", json={"model": "animals", "image": image, "params": {"conf_threshold": 0.3}}
    ).json()
    assert answer["success"]
    shape = answer["data"]["shapes"][0]
    assert (shape["label"], shape["shape_type"], shape["score"]) == ("fox", "polygon", 1.0)
    assert shape["points"][0] == shape["points"][-1]
    rings = [[side for point in one["points"][:-1] for side in point] for one in answer["data"]["shapes"]]
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, 32, 48)))
    np.testing.assert_array_equal(drawn.astype(bool), mask_of(client, content))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "wolves"}, "MODEL_NOT_FOUND"),
        ({"image": "@"}, "INVALID_IMAGE"),
        ({"params": {"conf_threshold": "x"}}, "INVALID_IMAGE"),
    ],
)
def test_x_anylabeling_is_refused_in_its_own_words(client, make_picture, change, code):
    asked = {"model": "animals", "image": base64.b64encode(make_picture(1)).decode()} | change
    answer = client.post("/v1/predict", json=asked)
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code
