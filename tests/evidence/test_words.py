"""A name stands for the classes that WordNet puts below it, or for none."""

import pytest

from tlg.evidence.names.words import imagenet_rows, known_words


def test_a_class_stands_for_itself_and_a_kind_for_all_below_it():
    assert imagenet_rows("badger") == (362,)
    dogs = imagenet_rows("dog")
    assert dogs == tuple(range(151, 269))
    assert set(imagenet_rows("poodle")) < set(dogs)


@pytest.mark.parametrize(("plural", "singular"), [("dogs", "dog"), ("buses", "bus"), ("butterflies", "butterfly")])
def test_plurals_are_read(plural, singular):
    assert imagenet_rows(plural) == imagenet_rows(singular) != ()


def test_a_longer_name_goes_by_its_last_word():
    assert imagenet_rows("brown bears of the north fence") == imagenet_rows("fence")
    assert imagenet_rows("Red_Fox") == (277,)


def test_a_word_without_classes_goes_by_the_nearest_above():
    assert imagenet_rows("pedestrian") == imagenet_rows("person") == (981, 982, 983)


@pytest.mark.parametrize("name", ["type A", "type B", "x", "", "狐狸", "лиса", "scratch", "zqx"])
def test_what_is_no_thing_has_no_rows(name):
    assert imagenet_rows(name) == ()


def test_every_row_is_one_of_the_thousand():
    assert all(0 <= row < 1000 for word in known_words() for row in imagenet_rows(word))
