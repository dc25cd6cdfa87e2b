"""Laws of the world: a seed is a scene, masks are true, novel classes stay novel."""

from __future__ import annotations

import numpy as np
import pytest

from tlg.world import BASE, CLASSES, NOVEL, SETTINGS, index_of, scene
from tlg.world.scenes import paint, place


def scenes(count: int, **options: object) -> list:
    return [scene(np.random.default_rng(seed), **options) for seed in range(count)]


def test_there_are_enough_classes_and_base_and_novel_share_none() -> None:
    assert len(CLASSES) >= 60
    assert len(NOVEL) >= 15
    assert not set(BASE) & set(NOVEL)
    assert set(BASE) | set(NOVEL) == set(CLASSES)


def test_every_class_has_usual_backgrounds_that_exist() -> None:
    for kind in CLASSES.values():
        assert set(kind.contexts) <= set(SETTINGS), kind.name


def test_a_seed_is_a_scene() -> None:
    for one, again in zip(scenes(4, size=128), scenes(4, size=128), strict=True):
        assert (one.image == again.image).all()
        assert (one.labels == again.labels).all()
        assert one.caption == again.caption


def test_different_seeds_differ() -> None:
    one, other = scenes(2, size=128)
    assert (one.image != other.image).any()


def test_present_classes_are_exactly_those_in_the_label_map() -> None:
    for made in scenes(40, size=128):
        assert {index_of(name) + 1 for name in made.present} == set(np.unique(made.labels)) - {0}


def test_the_caption_names_every_present_class_and_the_background() -> None:
    for made in scenes(40, size=128):
        assert made.background in made.caption
        for name in made.present:
            assert name in made.caption


def test_a_required_class_is_present() -> None:
    for seed in range(30):
        made = scene(np.random.default_rng(seed), size=128, classes=NOVEL, required="gear")
        assert "gear" in made.present


def test_no_classes_give_an_empty_scene() -> None:
    made = scene(np.random.default_rng(3), size=128, classes=())
    assert made.present == ()
    assert not made.labels.any()


def test_scenes_of_base_classes_hold_no_novel_pixel() -> None:
    novel = {index_of(name) + 1 for name in NOVEL}
    for made in scenes(60, size=96, classes=BASE):
        assert not novel & set(np.unique(made.labels))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_class_is_drawn_as_one_solid_object(name: str) -> None:
    for seed in range(3):
        cover = paint(np.random.default_rng(seed), CLASSES[name], scale=40).cover
        assert 0.08 < (cover >= 0.5).mean() < 0.95


@pytest.mark.parametrize("name", ["gear", "mug", "bicycle", "letter A"])
def test_the_mask_is_where_the_object_hides_the_ground(name: str) -> None:
    """Painted on black and on white, an object's own pixels look alike and all others do not (shadows are soft)."""
    for seed in range(5):
        painted, masks = [], []
        for ground in (0.0, 1.0):
            canvas, labels = np.full((128, 128, 3), ground, np.float32), np.zeros((128, 128), np.uint8)
            place(np.random.default_rng(seed), canvas, labels, index_of(name), crowd=1)
            painted.append(canvas)
            masks.append(labels == index_of(name) + 1)
        shows_through = np.abs(painted[1] - painted[0]).max(2)
        assert (masks[0] == masks[1]).all()
        assert masks[0].sum() > 100
        assert shows_through[masks[0]].max() <= 0.5 + 1e-3
        assert shows_through[~masks[0]].min() > 0.2
