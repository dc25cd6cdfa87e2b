"""Masks parted into objects: connected regions, touching discs, necks that part nothing, crumbs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tlg.answers import objects, records

SIDE = 96
GREY = np.full((SIDE, SIDE, 3), 128, np.uint8)


def disc(x: float, y: float, radius: float, side: int = SIDE) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def parted(
    mask: np.ndarray, picture: np.ndarray = GREY, chance: np.ndarray | None = None, smallest: int = 20
) -> records.Answer:
    answer = records.answer_from_mask("fox", 1, mask, 0.9, 0.81, 0.5)
    likely = np.where(mask, 0.99, 0.01) if chance is None else chance
    return objects.with_parts(answer, mask, likely, picture, smallest, 3)


def test_regions_that_do_not_touch_are_objects_with_box_area_and_score() -> None:
    left, right = disc(25, 40, 15), disc(70, 50, 20)
    answer = parted(left | right)
    large, small = answer.parts
    assert (large.mask == right).all()
    assert (small.mask == left).all()
    assert (small.area, large.bbox) == (left.sum(), [51, 31, 39, 39])
    assert large.score == pytest.approx((0.81 * 0.99) ** 0.5, abs=1e-3)


def test_touching_discs_are_two_objects_and_share_no_pixel() -> None:
    left, right = disc(30, 48, 20), disc(66, 48, 20)
    answer = parted(left | right)
    assert len(answer.parts) == 2
    both = np.sum([part.mask for part in answer.parts], axis=0)
    assert (both == (left | right)).all()
    for part, of in zip(sorted(answer.parts, key=lambda part: part.bbox), (left, right), strict=True):
        assert (part.mask & of).sum() / (part.mask | of).sum() > 0.9


def test_a_shape_without_a_neck_stays_whole() -> None:
    bar = np.zeros((SIDE, SIDE), bool)
    bar[30:50, 8:90] = True
    assert len(parted(bar).parts) == 1
    assert len(parted(disc(48, 48, 40)).parts) == 1


def test_colours_part_what_the_shape_alone_would_not() -> None:
    left, right = disc(36, 48, 22), disc(62, 48, 22)
    picture = GREY.copy()
    picture[:, :49] = (220, 40, 30)
    picture[:, 49:] = (30, 60, 220)
    assert len(parted(left | right).parts) <= len(parted(left | right, picture).parts) == 2


def test_small_uncertain_places_are_crumbs_and_certain_ones_are_objects() -> None:
    large, small = disc(60, 55, 25), disc(10, 10, 4)
    chance = np.where(large | small, 0.99, 0.01)
    assert len(parted(large | small, chance=chance).parts) == 2
    chance[small] = 0.6
    assert len(parted(large | small, chance=chance).parts) == 1
    assert len(parted(large | small, smallest=100).parts) == 1


@pytest.mark.parametrize("shape", [(300, 500), (500, 120), (40, 37)])
def test_parts_lie_in_the_mask_at_the_picture_s_own_size(shape: tuple[int, int]) -> None:
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    mask = ((rows // (height // 3)) % 2 == 0) & (columns > width // 8)
    small = np.asarray([[0.9, 0.1, 0.9]] * 3).T.repeat(20, axis=0).repeat(20, axis=1)
    answer = parted(mask, np.zeros((height, width, 3), np.uint8), small)
    assert answer.parts
    together = np.sum([part.mask for part in answer.parts], axis=0)
    assert together.max() == 1
    assert not (together.astype(bool) & ~mask).any()


@pytest.mark.parametrize("fill", [0, 1])
def test_a_mask_of_nothing_or_everything(fill: int) -> None:
    mask = np.full((SIDE, SIDE), bool(fill))
    assert len(parted(mask).parts) == fill


def test_the_distance_to_the_border_is_that_of_every_place_measured_one_by_one() -> None:
    mask = np.random.default_rng(0).random((13, 17)) < 0.8
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    expected = [
        [
            np.sqrt(((outside - (row, column)) ** 2).sum(axis=1)).min() if mask[row, column] else 0
            for column in range(17)
        ]
        for row in range(13)
    ]
    np.testing.assert_allclose(objects.distance_to_border(mask), expected, rtol=1e-6)


def test_rows_of_objects_come_after_their_class_and_lead_back_to_the_answer() -> None:
    answers = [parted(disc(25, 40, 15) | disc(70, 50, 20)), records.Answer("hare", 2, "absent", 0.1, 0.1, SIDE, SIDE)]
    provenance = records.Provenance("m", "e", "p", "r")
    rows = [row for answer in answers for row in records.to_rows(answer, "a.png", "1", provenance)]
    assert [(row["class_name"], row["part"], row["status"]) for row in rows] == [
        ("fox", None, "mask"),
        ("fox", 1, "mask"),
        ("fox", 2, "mask"),
        ("hare", None, "absent"),
    ]
    table = records.to_table([records.ImageAnswers("a.png", "1", answers)], provenance)
    assert table.equals(pa.Table.from_pylist(rows, schema=records.SCHEMA))
    assert records.from_rows(rows) == answers
    assert [len(answer.parts) for answer in records.from_rows(rows)] == [2, 0]
    assert [row["part"] for row in records.object_rows(rows)] == [1, 2]
    assert [row["class_name"] for row in records.class_rows(rows)] == ["fox", "hare"]
    assert records.row_count(answers) == 4
