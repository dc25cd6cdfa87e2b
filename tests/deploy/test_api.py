"""API v1 in this process: what a well-behaved caller gets."""

import base64
import io
from datetime import datetime, timezone

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tlg import exemplars, pictures
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator
from tlg.answers import records
from tlg.store import DEFAULT_ACCESS

ROW_KEYS = set(records.SCHEMA.names)


def annotate(client, content, **data):
    return client.post("/v1/annotate", files={"image": ("q.png", content)}, data={"exemplars": "animals"} | data)


def test_same_rows_as_the_annotator_of_a_batch_job(client, make_picture):
    digest = client.get("/v1/exemplar-sets/animals").json()["digest"]
    uri = client.get("/v1/exemplar-sets/animals").json()["uri"]
    params = AnnotateParams(min_score=0.3)
    annotator = load_annotator("dry-run", exemplars.load(uri), params)
    contents = [make_picture(seed) for seed in range(3)]
    batch = annotator.annotate([pictures.decode(content, params.max_pixels) for content in contents])
    for content, answers in zip(contents, batch, strict=True):
        online = annotate(client, content, min_score=0.3).json()["rows"]
        origin = records.Provenance(annotator.model_digest, digest, params.digest(), online[0]["run_id"])
        assert online == [records.to_row(answer, "q.png", None, origin) for answer in answers]
        assert set(online[0]) == ROW_KEYS


@pytest.mark.parametrize("tile", ["auto", "off", 64])
def test_tiles_are_the_annotators_and_said_in_both_forms(client, tile):
    stored = client.get("/v1/exemplar-sets/animals").json()
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (90, 150, 3), np.uint8)).save(stream, "PNG")
    params = AnnotateParams(tile=tile)
    annotator = load_annotator("dry-run", exemplars.load(stored["uri"]), params)
    (answers,) = annotator.annotate([pictures.decode(stream.getvalue(), params.max_pixels)])
    asked = {"image": {"data": base64.b64encode(stream.getvalue()).decode()}, "exemplars": "animals", "tile": tile}
    for online in (annotate(client, stream.getvalue(), tile=tile), client.post("/v1/annotate", json=asked)):
        rows = online.json()["rows"]
        assert [row["rle"] for row in rows] == [answer.rle for answer in answers]
        assert {row["params_digest"] for row in rows} == {params.digest()}
    assert client.post("/v1/annotate", json=asked | {"tile": 12}).status_code == 422


def test_json_multipart_and_inline_exemplars_agree(client, make_picture, make_exemplars):
    content = make_picture(7)
    encoded = base64.b64encode(content).decode()
    asked = {"image": {"data": f"data:image/png;base64,{encoded}", "name": "q.png"}, "exemplars": "animals"}
    parts = make_exemplars(fox=2, bear=1)
    inline = client.post(
        "/v1/annotate", files=[*parts["files"], ("image", ("q.png", content))], data=parts["data"]
    ).json()["rows"]
    by_json = client.post("/v1/annotate", json=asked).json()["rows"]
    by_name = annotate(client, content).json()["rows"]
    for row in (*inline, *by_json, *by_name):
        row.pop("run_id")
    assert by_json == by_name == inline


def test_a_set_is_new_once_and_readable_by_name_and_digest(client, make_exemplars):
    again = client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=2, bear=1))
    assert again.status_code == 200
    stored = again.json()
    assert [(one["name"], one["class_id"], one["exemplars"]) for one in stored["classes"]] == [
        ("fox", 1, 2),
        ("bear", 2, 1),
    ]
    assert client.get(f"/v1/exemplar-sets/{stored['digest']}").json()["digest"] == stored["digest"]
    assert [one["name"] for one in client.get("/v1/exemplar-sets").json()["exemplar_sets"]] == ["animals"]
    assert client.delete("/v1/exemplar-sets/animals").status_code == 204
    assert client.get("/v1/exemplar-sets/animals").status_code == 404
    # Who was told the digest may still use it: a job that waits, a nightly spec.
    assert client.get(f"/v1/exemplar-sets/{stored['digest']}").json()["digest"] == stored["digest"]


def test_content_stays_while_another_name_means_it(client, make_exemplars):
    client.put("/v1/exemplar-sets/copy", **make_exemplars(fox=2, bear=1)).raise_for_status()
    client.delete("/v1/exemplar-sets/animals")
    assert annotate(client, make_exemplars(fox=1)["files"][0][1][1], exemplars="copy").status_code == 200


def test_polygons_and_coco_draw_the_mask_of_the_rle(client, make_picture):
    content = make_picture(3)
    row = annotate(client, content).json()["rows"][0]
    mask = records.decode_mask(row["rle"])
    rings = annotate(client, content, format="polygon").json()["rows"][0]
    assert rings["rle"] is None
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings["polygons"], *mask.shape)))
    np.testing.assert_array_equal(drawn.astype(bool), mask)
    coco = annotate(client, content, format="coco").json()
    assert [one["name"] for one in coco["categories"]] == ["fox", "bear"]
    np.testing.assert_array_equal(records.decode_mask(coco["annotations"][0]["segmentation"]), mask)
    png = annotate(client, content, format="png")
    assert png.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.content))) == 1, mask)


def test_in_a_batch_a_failed_image_is_a_row(client, make_picture):
    files = [("image", ("good.png", make_picture(1))), ("image", ("bad.png", b"GIF89a nothing")), ("image", ("e", b""))]
    rows = client.post("/v1/annotate/batch", files=files, data={"exemplars": "animals", "classes": "fox"}).json()[
        "rows"
    ]
    assert [(row["image_uri"], row["status"]) for row in rows] == [
        ("good.png", "mask"),
        ("bad.png", "error"),
        ("e", "error"),
    ]
    assert set(rows[1]) == ROW_KEYS
    assert rows[2]["error_type"] == "empty"


def test_coco_tells_pictures_of_one_name_apart(client, make_picture):
    contents = [make_picture(1), b"no picture", make_picture(2), make_picture(3)]
    asked = {"files": [("image", ("same.png", content)) for content in contents], "data": {"exemplars": "animals"}}
    masks = [row for row in client.post("/v1/annotate/batch", **asked).json()["rows"] if row["status"] == "mask"]
    asked["data"]["format"] = "coco"
    document = client.post("/v1/annotate/batch", **asked).json()
    assert [one["file_name"] for one in document["images"]] == ["same.png"] * 3
    assert len({one["id"] for one in document["images"]}) == 3
    assert [one["image_id"] for one in document["annotations"]] == [one["id"] for one in document["images"]]
    assert [one["segmentation"] for one in document["annotations"]] == [row["rle"] for row in masks]


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_cut_images_are_refused_not_failed(client, make_picture, form, cut):
    content = make_picture(1, form=form)
    answer = annotate(client, content[: int(len(content) * cut)])
    assert answer.status_code in (200, 422)  # some formats survive a cut
    assert annotate(client, content).status_code == 200


def test_masks_of_exemplars_are_kept(client, make_picture):
    image, stream = make_picture(1), io.BytesIO()
    Image.fromarray(np.eye(48, dtype=np.uint8)[:32] * 255).save(stream, "PNG")

    def data(content):
        return {"data": base64.b64encode(content).decode()}

    one = {"name": "fox", "attributes": "red fox", "context": ["snow"]}
    one["exemplars"] = [{"image": data(image), "mask": data(stream.getvalue())}]
    stored = client.put("/v1/exemplar-sets/masked", json={"classes": [one]}).json()
    assert stored["classes"][0]["masks"] == 1
    loaded = exemplars.load(stored["uri"])
    assert loaded.digest == stored["digest"]
    assert loaded.classes[0].exemplars[0].mask.sum() == 32


def test_drawings_of_exemplars_are_kept_and_checked(client, make_picture):
    def body(**drawing):
        image = {"data": base64.b64encode(make_picture(1)).decode(), "name": "fox.png"}
        return {"classes": [{"name": "fox", "exemplars": [{"image": image, **drawing}]}]}

    drawn = {"boxes": [[4, 5, 20, 10]], "not_points": [[5, 6]], "scribbles": [{"points": [[8, 8], [9, 9]]}]}
    stored = client.put("/v1/exemplar-sets/drawn", json=body(**drawn)).json()
    assert [(one["masks"], one["drawings"]) for one in stored["classes"]] == [(0, 1)]
    drawing = exemplars.load(stored["uri"]).classes[0].exemplars[0].drawing
    assert drawing == exemplars.Drawing(**drawn)
    assert client.put("/v1/exemplar-sets/plain", json=body()).json()["digest"] != stored["digest"]
    refused = client.put("/v1/exemplar-sets/drawn", json=body(boxes=[[4, 5, 200, 10]]))
    assert refused.status_code == 422
    assert "boxes[0] reaches (204, 15), its image" in refused.json()["detail"]
    assert "is 48x32" in refused.json()["detail"]
    asked = {"image": {"data": base64.b64encode(make_picture(2)).decode()}, "exemplars": body(points=[[-9, 5]])}
    assert "points[0] reaches (-9, 5)" in client.post("/v1/annotate", json=asked).json()["detail"]


def test_health_readiness_metrics_and_description(client, make_picture):
    annotate(client, make_picture(1))
    assert client.get("/healthz").json() == {"status": "ok", "model": "dry-run"}
    assert client.get("/readyz").status_code == 200
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    for line in (
        'tlg_requests_total{method="POST",route="/v1/annotate",status="200"} 1.0',
        'tlg_answers_total{status="mask"} 1.0',
        'tlg_annotator_lookups_total{found="no"} 1.0',
        "tlg_batch_size_count 1.0",
    ):
        assert line in metrics.text.splitlines()
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/annotate", "/v1/annotate/batch", "/v1/jobs", "/ls/predict", "/v1/predict"} <= set(paths)


def test_without_a_cluster_jobs_say_so(client):
    spec = {"name": "traps", "images": {"uri": "s3://a/"}, "exemplars": "animals", "output": {"uri": "s3://b/"}}
    answer = client.post("/v1/jobs", json=spec)
    assert answer.status_code == 404
    assert "jobs_address" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": {"uri": "/etc/"}}, "images.uri"),
        ({"images": {"uri": "s3://other/"}}, "images.uri"),
        ({"images": {"cvat": {"url": "http://cvat:8080", "task": 7}}}, "images.uri"),
        ({"output": {"uri": "/root/out"}}, "output.uri"),
        ({"model": "file:///tmp/model"}, "serves"),
        ({"storage": {"endpoint": "http://169.254.169.254"}}, "storage.endpoint"),
        ({"deploy": {"webhook": "http://169.254.169.254/"}}, "webhook"),
    ],
)
def test_jobs_may_only_name_what_the_endpoint_may_reach(make_client, change, named):
    client = make_client(
        jobs_address="http://127.0.0.1:9", uri_prefixes=["s3://traps/"], output_prefixes=["s3://annotations/"]
    )
    spec = {"name": "traps", "images": {"uri": "s3://traps/a/"}, "exemplars": "animals", "model": "dry-run"}
    spec |= {"output": {"uri": "s3://annotations/a/"}}
    answer = client.post("/v1/jobs", json=spec | change)
    assert answer.status_code in (403, 422)
    assert named in answer.json()["detail"]


def test_jobs_are_handed_to_the_cluster_with_the_stored_set(make_client, make_exemplars, monkeypatch):
    from deploy.endpoint import cluster_jobs

    handed = []

    def submit(spec, address):
        handed.append((spec, address))
        return cluster_jobs.cluster.SubmittedJob("traps-1", "PENDING", created=True)

    monkeypatch.setattr(cluster_jobs.cluster, "submit", submit)
    client = make_client(
        jobs_address="http://127.0.0.1:9", uri_prefixes=["s3://traps/"], output_prefixes=["s3://annotations/"]
    )
    stored = client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1)).json()
    spec = {"name": "traps", "images": {"uri": "s3://traps/a/"}, "exemplars": "animals", "model": "dry-run"}
    answer = client.post("/v1/jobs", json=spec | {"output": {"uri": "s3://annotations/a/"}})
    assert (answer.status_code, answer.json()["id"]) == (202, "traps-1")
    assert handed[0][0].exemplars == stored["uri"]
    unreachable = client.get("/v1/jobs/traps-1")
    assert unreachable.status_code == 502


@pytest.mark.parametrize(("prefix", "told"), [("", "9 of 30 images"), ("other", None)])
def test_a_job_tells_how_far_it_is_where_the_endpoint_may_write(make_client, monkeypatch, tmp_path, prefix, told):
    from deploy.endpoint import cluster_jobs
    from jobs.output.runs import RunSummary

    output = str(tmp_path / "out" / "traps")
    summary = RunSummary("r1", "traps", output, started_at="2026-01-02T00:00:10+00:00", images=30, done=9)
    summary.write(DEFAULT_ACCESS)
    started = datetime(2026, 1, 2, 0, 0, 9, tzinfo=timezone.utc).timestamp()
    running = cluster_jobs.cluster.JobState("traps-1", "RUNNING", started_at=started, output=output)
    monkeypatch.setattr(cluster_jobs.cluster, "status", lambda job_id, address: running)
    client = make_client(jobs_address="http://127.0.0.1:9", output_prefixes=[str(tmp_path / "out" / prefix)])
    state = client.get("/v1/jobs/traps-1").json()
    assert state["status"] == "RUNNING"
    assert (told in state["message"]) if told else state["message"] is None
