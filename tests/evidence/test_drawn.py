"""Laws of drawn hints: boxes, points and strokes find their object, and only theirs."""

import numpy as np
import pytest
import torch

from tests.annotators.sets import NAMES, scene
from tlg import world
from tlg.evaluation.hints import boxes_around, points_on
from tlg.evidence.cutout import Known, cut_out
from tlg.evidence.drawn import WINDOW_SIDE, drawn_map, leaning
from tlg.exemplars import Drawing, Scribble
from tlg.hub import zoo
from tlg.network.features import Features
from tlg.pictures import to_network_input

SIDE = 128


@pytest.fixture(scope="module")
def backbone():
    return zoo.load("tlg-tiny", "cpu").backbone


def features_of(backbone, pixels):
    image = to_network_input(pixels, SIDE)[None]
    with torch.inference_mode():
        return Features(backbone(image), (SIDE, SIDE)), image


def mapped(backbone, pixels, drawing, mask=None, by_name=None):
    features, image = features_of(backbone, pixels)
    return drawn_map(drawing, pixels.shape[:2], features, image, mask, by_name)


def two_discs():
    """A red and a blue disc on green, 100 x 160, and their masks."""
    y, x = np.mgrid[:100, :160]
    red, blue = (y - 50) ** 2 + (x - 40) ** 2 < 20**2, (y - 50) ** 2 + (x - 120) ** 2 < 20**2
    pixels = np.full((100, 160, 3), (60, 120, 60), np.uint8)
    pixels[red], pixels[blue] = (200, 40, 40), (40, 40, 200)
    return pixels, red, blue


def overlap(map_HW, mask):
    truth = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None].float(), (SIDE, SIDE), mode="area")[0, 0]
    found, truth = map_HW > 0.5, truth > 0.5
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize(
    "drawing",
    [
        Drawing(boxes=[(18, 28, 44, 44)]),
        Drawing(points=[(40, 50)]),
        Drawing(points=[(40, 50)], not_points=[(120, 50)]),
        Drawing(scribbles=[Scribble(points=[(30, 50), (50, 50)])]),
        Drawing(boxes=[(18, 28, 44, 44)], points=[(40, 50)], not_points=[(20, 30)]),
    ],
)
def test_a_hint_finds_its_own_object(backbone, drawing):
    pixels, red, blue = two_discs()
    found = mapped(backbone, pixels, drawing)
    assert found.shape == (SIDE, SIDE)
    assert 0 <= found.min() <= found.max() <= 1
    assert overlap(found, red) > 0.8
    assert overlap(found, blue) < 0.05


def bump(across, width=0.25):
    """(WINDOW_SIDE ** 2,) in 0..1: highest at this place of the middle row."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, WINDOW_SIDE),) * 2, indexing="ij")
    return (0.05 + 0.9 * torch.exp(-((x - across) ** 2 + y**2) / width)).flatten()


def test_a_name_leans_as_far_as_it_agrees_with_the_box():
    start = bump(0, 0.5)
    agreed, apart = leaning(bump(0), start), leaning(bump(2), start)
    assert agreed[bump(0) > 0.5].min() > 0 > agreed[bump(0) < 0.1].max()
    assert not apart.any()
    half = leaning(bump(0.6), start)
    assert 0 < half.std() < agreed.std() == pytest.approx(1)


def test_a_name_decides_where_the_picture_says_nothing():
    known = Known(torch.ones(WINDOW_SIDE**2, dtype=torch.bool), *(torch.zeros(WINDOW_SIDE**2, dtype=torch.bool),) * 2)
    plain = torch.zeros(1, 8, WINDOW_SIDE, WINDOW_SIDE), torch.zeros(1, 3, WINDOW_SIDE, WINDOW_SIDE)
    found = cut_out(known, torch.full((WINDOW_SIDE**2,), 0.5), 4 * (bump(0) - 0.5), *plain, 1).flatten()
    assert found[bump(0) > 0.7].min() > 0.5 > found[bump(0) < 0.2].max()


def test_a_name_that_is_elsewhere_says_nothing(backbone):
    pixels, _, _ = two_discs()
    boxed = Drawing(boxes=[(18, 28, 44, 44)])
    elsewhere = torch.full((SIDE, SIDE), 0.95)
    elsewhere[:, : SIDE // 2] = 0.05
    assert torch.equal(mapped(backbone, pixels, boxed, by_name=elsewhere), mapped(backbone, pixels, boxed))


def test_outside_of_all_boxes_is_nothing(backbone):
    pixels, red, blue = two_discs()
    found = mapped(backbone, pixels, Drawing(boxes=[(18, 28, 44, 44), (98, 28, 44, 44)]))
    assert (found[:, int(SIDE * 64 / 160) : int(SIDE * 96 / 160)] == 0).all()
    assert overlap(found, red | blue) > 0.8


def test_a_mask_keeps_its_word_and_a_box_elsewhere_adds_to_it(backbone):
    pixels, _, blue = two_discs()
    small = torch.zeros(SIDE, SIDE)
    small[60:68, 28:36] = 1  # a part of the red disc
    box = (18, 28, 44, 44)
    assert torch.equal(mapped(backbone, pixels, Drawing(boxes=[box]), small), small)
    strokes = Drawing(points=[(40, 50)], scribbles=[Scribble(points=[(40, 50), (50, 50)])])
    assert torch.equal(mapped(backbone, pixels, strokes, small), small)
    both = mapped(backbone, pixels, Drawing(boxes=[box, (98, 28, 44, 44)]), small)
    assert torch.equal(both[:, : SIDE // 2], small[:, : SIDE // 2])
    assert overlap(both[:, SIDE // 2 :].repeat_interleave(2, 1), blue[:, 80:]) > 0.8


@pytest.mark.parametrize("box", [(0, 0, 160, 100), (0, 0, 0.4, 0.4), (159, 0, 2, 100), (70, 10, 1, 80)])
def test_odd_boxes_give_maps(backbone, box):
    found = mapped(backbone, two_discs()[0], Drawing(boxes=[box]))
    assert found.isfinite().all()


def test_pictures_without_any_contrast_give_maps(backbone):
    grey = np.full((30, 40, 3), 128, np.uint8)
    for drawing in (Drawing(boxes=[(5, 5, 20, 20)]), Drawing(points=[(9, 9)]), Drawing(boxes=[(0, 0, 40, 30)])):
        assert mapped(backbone, grey, drawing).isfinite().all()


def test_boxes_of_drawn_scenes_are_nearer_to_the_object_than_the_boxes_themselves(backbone):
    found, boxed = [], []
    for number in range(4):
        one = scene([90, number], [NAMES[number % 2]], NAMES[number % 2])
        truth = one.labels == world.index_of(NAMES[number % 2]) + 1
        drawing = boxes_around(truth)
        found.append(overlap(mapped(backbone, one.image, drawing), truth))
        box_mask = np.zeros_like(truth)
        for x, y, width, height in drawing.boxes:
            box_mask[int(y) : int(y + height), int(x) : int(x + width)] = True
        boxed.append((box_mask & truth).sum() / (box_mask | truth).sum())
    assert np.mean(found) > np.mean(boxed) + 0.05


def test_true_masks_become_a_box_and_a_point_for_each_part():
    mask = np.zeros((60, 80), bool)
    mask[10:20, 10:30] = mask[40:55, 50:60] = True
    mask[2, 2] = True  # a speck
    assert boxes_around(mask).boxes == [(10, 10, 20, 10), (50, 40, 10, 15)]
    for (x, y), (left, top, width, height) in zip(points_on(mask).points, boxes_around(mask).boxes, strict=True):
        assert left + 2 < x < left + width - 2
        assert top + 2 < y < top + height - 2
    assert boxes_around(mask & False) == Drawing() == points_on(mask & False)
