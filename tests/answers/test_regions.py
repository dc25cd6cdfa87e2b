"""Connected regions, against another implementation."""

import numpy as np
import pytest

from tlg.answers.records import part_from_mask, part_in_window
from tlg.answers.regions import regions_of

measure = pytest.importorskip("skimage.measure")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.9, 1.0])
def test_regions_are_what_others_call_connected(share):
    mask = np.random.default_rng(3).random((57, 64)) < share
    regions, labels = regions_of(mask), measure.label(mask, connectivity=2)
    assert regions.count == labels.max()
    assert sorted(regions.areas) == sorted(np.bincount(labels.ravel())[1:])
    corners = [one.bbox for one in measure.regionprops(labels)]
    boxes = sorted((left, top, right - left, bottom - top) for top, left, bottom, right in corners)
    assert sorted(map(tuple, regions.boxes.tolist())) == boxes
    assert (regions.painted(np.ones(regions.count, bool)) == mask).all()
    for number in range(regions.count):
        window, cut = regions.cut(number)
        painted = regions.painted(np.arange(regions.count) == number)
        assert (painted[window] == cut).all()
        assert painted.sum() == cut.sum()
    marked = np.random.default_rng(4).random(mask.shape) < 0.02
    touched = np.unique(labels[marked & mask])
    assert sorted(regions.areas[regions.touch(marked & mask)]) == sorted((labels == one).sum() for one in touched)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_part_in_a_window_is_the_part_of_the_picture(share):
    inside = np.random.default_rng(5).random((20, 31)) < share
    whole = np.zeros((40, 50), bool)
    whole[7:27, 19:50] = inside
    assert part_in_window(inside, 7, 19, 40, 50, 0.5) == part_from_mask(whole, 0.5)
    full = np.ones((5, 6), bool)
    assert part_in_window(full, 0, 0, 5, 6, 0.5) == part_from_mask(full, 0.5)
