"""Polygons and Label Studio's brush RLE: encoding, then drawing, gives the same mask."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tlg.answers import records
from tlg.answers.formats import label_studio, polygon
from tlg.errors import InputError


def blobs(seed, height=37, width=53):
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 4 + 1, width // 4 + 1)) > 0.5
    smooth = np.kron(coarse, np.ones((4, 4), bool))[:height, :width]
    return smooth ^ (rng.random((height, width)) > 0.97)


def drawn(rings, height, width):
    if not rings:
        return np.zeros((height, width), bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, height, width))).astype(bool)


@pytest.mark.parametrize("seed", range(12))
def test_polygons_draw_the_same_mask(seed):
    mask = blobs(seed)
    np.testing.assert_array_equal(drawn(polygon.from_mask(mask), *mask.shape), mask)


def test_polygons_of_nested_rings_keep_their_holes():
    mask = np.zeros((20, 20), bool)
    mask[2:18, 2:18] = True
    mask[4:16, 4:16] = False
    mask[6:14, 6:14] = True
    mask[8:10, 8:10] = False
    mask[11:12, 8:13] = False
    np.testing.assert_array_equal(drawn(polygon.from_mask(mask), 20, 20), mask)


@pytest.mark.parametrize("mask", [np.zeros((5, 7), bool), np.ones((5, 7), bool), np.eye(6, dtype=bool)])
def test_polygons_of_extremes(mask):
    np.testing.assert_array_equal(drawn(polygon.from_mask(mask), *mask.shape), mask)


@pytest.mark.parametrize("seed", range(6))
def test_brush_rle_decodes_to_the_same_mask(seed):
    mask = blobs(seed, 41, 30)
    np.testing.assert_array_equal(label_studio.decode_brush(label_studio.encode_brush(mask), *mask.shape), mask)


def test_brush_rle_of_runs_longer_than_a_length_field():
    mask = np.zeros((300, 300), bool)
    mask[150:] = True
    np.testing.assert_array_equal(label_studio.decode_brush(label_studio.encode_brush(mask), 300, 300), mask)


def test_label_studios_own_decoder_reads_the_same_mask():
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is not installed")
    mask = blobs(3)
    theirs = brush.decode_rle(label_studio.encode_brush(mask)).reshape(*mask.shape, 4)[:, :, 3] > 0
    np.testing.assert_array_equal(theirs, mask)


@pytest.mark.parametrize("rle", [[], [1, 2, 3], [300], ["a"], [0, 0, 0, 96, 57, 30, 0]])
def test_damaged_brush_rle_is_an_input_error(rle):
    with pytest.raises(InputError, match="brush RLE"):
        label_studio.decode_brush(rle, 4, 6)


def test_regions_carry_names_sizes_and_scores():
    mask = np.zeros((10, 20), bool)
    mask[2:6, 5:15] = True
    answer = records.answer_from_mask("red fox", 1, mask, 0.9, 0.8, 0.5)
    row = records.to_row(answer, "a.jpg", None, records.Provenance("m", "e", "p", "r"))
    region = label_studio.brush_region(row, "tag", "img")
    assert (region["original_width"], region["original_height"], region["score"]) == (20, 10, 0.9)
    assert region["value"]["brushlabels"] == ["red fox"]
    points = label_studio.polygon_regions(row, "tag", "img")[0]["value"]["points"]
    assert sorted(points) == [[25, 20], [25, 60], [75, 20], [75, 60]]
    box = label_studio.rectangle_region(row, "tag", "img")["value"]
    assert (box["x"], box["y"], box["width"], box["height"]) == (25, 20, 50, 40)
