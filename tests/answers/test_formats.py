"""Formats give back the very pixels they were given."""

import io
import json
import time

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tlg.answers import records
from tlg.answers.formats import coco, label_studio, overlay, polygon
from tlg.answers.records import Provenance


def masks():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:37, :52]
    ring = ((y - 18) ** 2 + (x - 25) ** 2 < 200) & ((y - 18) ** 2 + (x - 25) ** 2 > 40)
    yield "ring", ring
    yield "ring with a dot inside", ring | ((y - 18) ** 2 + (x - 25) ** 2 < 9)
    yield "everything", np.ones((5, 9), bool)
    yield "one pixel", np.pad(np.ones((1, 1), bool), ((3, 2), (0, 4)))
    y, x = np.mgrid[:60, :60]
    yield "holes below each other on one edge", ((x % 6 > 1) | (y % 4 > 1)) & (x > 0)
    for density in (0.2, 0.5, 0.8):
        yield f"noise {density}", rng.random((23, 31)) < density


CASES = [pytest.param(mask, id=name) for name, mask in masks()]


def row(mask, uri="s3://b/in/a.jpg", class_id=1):
    answer = records.answer_from_mask("red fox", class_id, mask, 0.75, 0.9, 0.5)
    return records.to_row(answer, uri, "1", Provenance("model", "exemplars", "params", "run"))


@pytest.mark.parametrize("mask", CASES)
def test_polygons_rasterise_to_the_same_pixels(mask):
    parts = polygon.from_mask(mask)
    rles = coco_mask.frPyObjects(parts, *mask.shape)
    assert (coco_mask.decode(coco_mask.merge(rles)).astype(bool) == mask).all()
    assert all(len(part) >= 8 for part in parts)


def test_very_many_holes_take_no_longer_than_their_number():
    """Noise has a hole every few pixels; joining each must not look at all the others."""
    mask = np.random.default_rng(0).random((300, 300)) < 0.6
    start = time.process_time()
    parts = polygon.from_mask(mask)
    assert time.process_time() - start < 8  # 35 s where every hole looks at every edge
    assert len(parts) > 100


@pytest.mark.parametrize("mask", CASES)
def test_label_studio_masks_decode_to_the_same_pixels(mask):
    assert (decoded(label_studio.encode_brush(mask), mask.shape) == mask).all()


def test_label_studio_masks_decode_with_its_sdk():
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    for _, mask in masks():
        flat = brush.decode_rle(label_studio.encode_brush(mask))
        rgba = np.reshape(flat, (*mask.shape, 4))
        assert ((rgba == 255).all(axis=2) == mask).all()


def decoded(values, shape):
    """The published description of the format, read bit by bit."""
    bits = "".join(f"{value:08b}" for value in values)
    place = 0

    def take(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    out = []
    while len(out) < total:
        repeated = take(1)
        length = take(sizes[take(2)]) + 1
        out += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    return np.reshape(out, (*shape, 4))[..., 3] == 255


def test_large_runs_are_split():
    mask = np.zeros((300, 400), bool)
    mask[100:] = True
    assert (decoded(label_studio.encode_brush(mask), mask.shape) == mask).all()


def test_coco_ids_are_stable_unique_and_safe_for_javascript():
    mask = next(masks())[1]
    images = [[row(mask, f"s3://b/in/{number}.jpg", one) for one in (1, 2)] for number in range(50)]

    def written(some):
        stream = io.StringIO()
        coco.write(stream, some, [(1, "red fox"), (2, "hare")], root="s3://b/in")
        return json.loads(stream.getvalue())

    everything, part = written(images), written(images[10:])
    ids = [one["id"] for one in everything["images"]]
    annotation_ids = [one["id"] for one in everything["annotations"]]
    assert len(set(ids)) == 50
    assert len(set(annotation_ids)) == 100
    assert 0 < min(ids + annotation_ids) <= max(ids + annotation_ids) < 2**53
    assert [one["id"] for one in part["images"]] == ids[10:]
    assert part["annotations"] == everything["annotations"][20:]
    assert everything["images"][0]["file_name"] == "0.jpg"


def test_images_without_masks_stay_and_unreadable_ones_go():
    absent = row(np.zeros((4, 5), bool))
    provenance = Provenance("model", "exemplars", "params", "run")
    failed = records.error_row("b.jpg", None, "truncated", "cut short", provenance)
    stream = io.StringIO()
    coco.write(stream, [[absent], [failed]], [(1, "red fox")])
    document = json.loads(stream.getvalue())
    assert [(one["width"], one["height"]) for one in document["images"]] == [(5, 4)]
    assert document["annotations"] == []
    tasks = io.StringIO()
    assert label_studio.write(tasks, [[absent], [failed]]) == 1
    assert json.loads(tasks.getvalue())[0]["predictions"][0]["result"] == []


def test_overlay_marks_the_mask_in_its_colour():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:40] = True
    drawn = np.asarray(overlay.draw(np.zeros((40, 60, 3), np.uint8), [row(mask)]))
    assert drawn[10, 20].tolist() == list(overlay.colour(1))
    assert drawn[20, 30].any()
    assert not drawn[~mask].any()
