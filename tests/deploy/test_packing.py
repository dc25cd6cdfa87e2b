"""Masks of a request become the files that a batch job writes."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tlg.answers.formats import yolo


def counts_of(mask):
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@pytest.fixture
def mask():
    marked = np.zeros((20, 30), bool)
    marked[4:12, 5:20] = True
    marked[6:9, 8:12] = False
    return marked


def asked(mask, **changes):
    picture = {"name": "a/b.jpg", "width": 30, "height": 20}
    picture |= {"masks": [{"class_name": "fox", "counts": counts_of(mask)}]} | changes
    return {"classes": ["bear", "fox"], "pictures": [picture]}


def opened(answer):
    answer.raise_for_status()
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_yolo_is_what_the_job_writes(client, mask):
    archive = opened(client.post("/v1/exports/yolo_seg", json=asked(mask)))
    row = {"class_name": "fox", "status": "mask", "part": None, "width": 30, "height": 20, "score": 1.0}
    row["rle"] = {"size": [20, 30], "counts": counts_of(mask)}
    expected = yolo.lines([row], {"bear": 0, "fox": 1})
    assert archive.read("labels/a/b.txt").decode().splitlines() == expected
    assert '  1: "fox"' in archive.read("data.yaml").decode()


def test_label_maps_hold_class_numbers(client, mask):
    archive = opened(client.post("/v1/exports/label_maps", json=asked(mask)))
    values = np.asarray(Image.open(io.BytesIO(archive.read("label_maps/a/b.png"))))
    np.testing.assert_array_equal(values, np.where(mask, 2, 0))
    assert json.loads(archive.read("classes.json")) == {"1": "bear", "2": "fox"}


def test_names_stay_inside_the_archive_and_two_of_one_name_are_two(client, mask):
    body = asked(mask, name="../../etc/a.jpg")
    body["pictures"] += [body["pictures"][0] | {"name": "etc/a.png"}, body["pictures"][0] | {"name": "/etc/a.gif"}]
    names = opened(client.post("/v1/exports/yolo_seg", json=body)).namelist()
    assert names[:3] == ["labels/etc/a.txt", "labels/etc/a-2.txt", "labels/etc/a-3.txt"]


@pytest.mark.parametrize("counts", ["", "0", "zzzz", "PPPPPPPPPPPPPP", "h" * 40, "é"])
def test_runs_that_do_not_cover_the_picture_are_refused(client, mask, counts):
    body = asked(mask, masks=[{"class_name": "fox", "counts": counts}])
    answer = client.post("/v1/exports/label_maps", json=body)
    assert answer.status_code == 422
    assert "does not cover" in answer.json()["detail"]


def test_more_than_can_be_done_in_time_is_refused_before_it_is_begun(client, mask):
    big = asked(mask, width=20_000, height=10_000)
    big["pictures"] *= 11
    answer = client.post("/v1/exports/yolo_seg", json=big)
    assert (answer.status_code, "send fewer" in answer.json()["detail"]) == (413, True)


@pytest.mark.parametrize("name", [".", "/", "..", "\x00", ".hidden"])
def test_odd_names_are_files_too(client, mask, name):
    assert opened(client.post("/v1/exports/yolo_seg", json=asked(mask, name=name))).namelist()[0].endswith(".txt")


def test_a_class_that_is_not_listed_is_refused(client, mask):
    body = asked(mask) | {"classes": ["bear"]}
    answer = client.post("/v1/exports/yolo_seg", json=body)
    assert (answer.status_code, "fox" in answer.json()["detail"]) == (422, True)
