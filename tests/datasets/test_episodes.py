from pathlib import Path

import pytest

from tlg.datasets.episodes import Photo, queries_at_random, queries_in_list_order, without_classes
from tlg.errors import SpecError

PHOTOS = [
    Photo(f"{c}/{n}", Path(f"{c}/{n}.jpg"), frozenset({c, 9} if n == 0 else {c})) for c in (1, 2, 3) for n in range(4)
]


def test_queries_follow_the_list_and_start_over():
    episodes = queries_in_list_order(PHOTOS, [1, 3], shots=2, count=10, seed=0)
    assert [episode.query.id for episode in episodes[:5]] == ["1/0", "1/1", "1/2", "1/3", "3/0"]
    assert episodes[8].query.id == "1/0"


@pytest.mark.parametrize("protocol", [queries_in_list_order, queries_at_random])
def test_supports_show_the_class_and_are_neither_the_query_nor_repeated(protocol):
    for episode in protocol(PHOTOS, [1, 2, 3], shots=3, count=40, seed=1):
        ids = [photo.id for photo in episode.supports]
        assert len(set(ids)) == 3
        assert episode.query.id not in ids
        assert all(episode.class_id in photo.classes for photo in (episode.query, *episode.supports))


@pytest.mark.parametrize("protocol", [queries_in_list_order, queries_at_random])
def test_the_seed_decides(protocol):
    draw = [protocol(PHOTOS, [1, 2], shots=1, count=30, seed=seed) for seed in (5, 5, 6)]
    assert draw[0] == draw[1] != draw[2]


def test_too_few_photographs_are_refused():
    with pytest.raises(SpecError, match="5-shot episodes need at least 6"):
        queries_at_random(PHOTOS, [1], shots=5, count=1, seed=0)


def test_without_classes_drops_every_photograph_that_shows_one():
    assert {photo.id for photo in without_classes(PHOTOS, [9, 3])} == {f"{c}/{n}" for c in (1, 2) for n in (1, 2, 3)}
