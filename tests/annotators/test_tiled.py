"""Large pictures in tiles: a model that sees nothing below a size stands in for a real one."""

from dataclasses import dataclass

import numpy as np
import pytest

from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.tiled import TiledModel
from tlg.annotators.tiles.grid import MOST_TILES, Grid
from tlg.answers.objects import with_parts
from tlg.answers.records import answer_from_mask, at_min_score
from tlg.exemplars import Drawing, LoadedClass, LoadedExemplar, LoadedExemplars
from tlg.pictures import Picture

INPUT = 64
THING = 20
COLOURS = {"red": 0, "green": 1}


class Sighted:
    """Marks a class's colour where a thing of it is seen in enough of what is shown."""

    def __init__(self, model, exemplars, params):
        self.model_digest, self.exemplars_digest, self.params = model.digest, exemplars.digest, params
        self.class_names = exemplars.class_names
        self.exemplars, self.model = exemplars, model

    def annotate(self, pictures, asked=None):
        self.model.shown += [picture.pixels.shape[:2] for picture in pictures]
        asked = [None] * len(pictures) if asked is None else asked
        return [self._answers(picture, names) for picture, names in zip(pictures, asked, strict=True)]

    def _answers(self, picture, asked):
        answers = []
        for number, name in enumerate(self.class_names, start=1):
            if asked is not None and name not in asked:
                continue
            mask = picture.pixels[..., COLOURS[name]] > 128
            seen = mask.sum() ** 0.5 / max(mask.shape)
            presence = 0.9 if seen > 0.05 else 0.1
            answer = answer_from_mask(name, number, mask & (presence > 0.5), 0.8, presence, self.params.min_score)
            if self.params.objects:
                answer = with_parts(answer, mask, mask, picture.pixels, self.params.smallest_object, 3)
            answers.append(answer)
        return answers

    def release_memory(self):
        pass

    def healthy(self):
        return True


@dataclass
class SightedModel:
    digest = "sighted"
    input_side: int | None = INPUT

    def __post_init__(self):
        self.shown = []

    def with_exemplars(self, exemplars, params=None):
        return Sighted(self, exemplars, params or AnnotateParams())


def canvas(height, width, things=(), side=THING):
    pixels = np.zeros((height, width, 3), np.uint8)
    for y, x, colour in things:
        pixels[y : y + side, x : x + side, COLOURS[colour]] = 255
    return pixels


def exemplar_set(side=100, thing=THING, marked=True):
    classes = []
    for number, name in enumerate(COLOURS, start=1):
        pixels = canvas(side, side, [(side // 3, side // 3, name)], thing)
        mask = pixels[..., COLOURS[name]] > 0 if marked else None
        classes.append(LoadedClass(name, number, None, (), (LoadedExemplar(name, pixels, mask),)))
    return LoadedExemplars("set", tuple(classes), (), "digest")


def annotator(tile="auto", exemplars=None, model=None, **params):
    return TiledModel(model or SightedModel()).with_exemplars(
        exemplars or exemplar_set(), AnnotateParams(tile=tile, **params)
    )


def large(things=((100, 150, "red"), (400, 77, "red"), (555, 700, "red"), (300, 310, "red"))):
    pixels = canvas(600, 800, things)
    return Picture(pixels, 600, 800)


def test_small_things_that_the_whole_look_misses_are_marked_without_seams():
    picture = large()
    ((red, green),) = annotator().annotate([picture])
    ((untiled, _),) = annotator("off").annotate([picture])
    assert untiled.status == "absent"
    assert red.status == "mask"
    assert (red.mask == (picture.pixels[..., 0] > 0)).all()
    assert (red.score, red.presence) == (0.8, 0.9)
    assert (green.status, green.presence, green.score) == ("absent", 0.1, 0.1)


def test_a_thing_on_every_border_of_tiles_is_whole():
    things = [(y, x, "red") for y in range(0, 580, 53) for x in range(0, 780, 47)]
    picture = large(things)
    ((red, _),) = annotator().annotate([picture])
    assert (red.mask == (picture.pixels[..., 0] > 0)).all()


def test_tiles_are_chosen_where_pictures_are_large_and_things_are_small():
    def sizes(exemplars, picture, tile="auto", model=None):
        model = model or SightedModel()
        annotator(tile, exemplars, model).annotate([picture])
        return model.shown

    picture = large()
    small = Picture(picture.pixels[:150, :150], 150, 150)
    assert sizes(exemplar_set(), small) == [(150, 150)]
    assert sizes(exemplar_set(300, 160), picture) == [(600, 800)]
    assert sizes(exemplar_set(), picture, "off") == [(600, 800)]
    assert set(sizes(exemplar_set(), picture)) == {(600, 800), (80, 80)}
    assert set(sizes(exemplar_set(), picture, 200)) == {(600, 800), (200, 200)}
    assert sizes(exemplar_set(), small, 200) == [(150, 150)]
    # Exemplars that nobody marked are looked at by the model; boxes say it without a look.
    assert set(sizes(exemplar_set(marked=False), picture)) == {(600, 800), (100, 100), (80, 80)}
    # A model that does not say what it reads is tiled by size alone.
    assert sizes(exemplar_set(), picture, model=SightedModel(None)) == [(600, 800)]


def test_boxes_say_how_large_things_are():
    plain = canvas(100, 100)
    boxed = LoadedExemplar("red", plain, None, Drawing(boxes=[(10, 10, THING, 12)]))
    model, exemplars = SightedModel(), LoadedExemplars("set", (LoadedClass("red", 1, None, (), (boxed,)),), (), "d")
    annotator("auto", exemplars, model).annotate([large()])
    assert set(model.shown) == {(600, 800), (80, 80)}


def test_large_exemplars_are_cut_to_windows_around_their_things():
    annotated = annotator(exemplars=exemplar_set(900))
    annotated.annotate([large()])
    close = annotated._close[80]
    for of in close.exemplars.classes:
        (window,) = of.exemplars
        assert window.pixels.shape == (80, 80, 3)
        assert window.mask.sum() == THING**2
        assert (window.mask == (window.pixels[..., COLOURS[of.name]] > 0)).all()


def test_a_thing_that_no_tile_shows_whole_comes_from_the_whole_look():
    pixels = canvas(600, 800)
    pixels[100:500, 100:500, 0] = 255
    picture = Picture(pixels, 600, 800)
    ((red, _),) = annotator().annotate([picture])
    assert (red.mask == (pixels[..., 0] > 0)).all()


def test_a_threshold_before_is_the_same_as_one_after():
    picture = large()
    for min_score in (0.5, 0.9):
        before = annotator(min_score=min_score).annotate([picture])[0]
        after = annotator(min_score=0.0).annotate([picture])[0]
        assert before == [at_min_score(answer, min_score) for answer in after]


@pytest.mark.parametrize("scale", [1, 2])
def test_objects_are_counted_once_each(scale):
    picture = large()
    picture = Picture(picture.pixels, 600 * scale, 800 * scale)
    ((red, _),) = annotator(exemplars=exemplar_set(scale * 100, scale * THING), objects=True).annotate([picture])
    assert len(red.parts) == 4
    assert sum(part.area for part in red.parts) == red.area == 4 * (scale * THING) ** 2
    assert (np.any([part.mask for part in red.parts], axis=0) == red.mask).all()


def test_only_asked_classes_are_answered_in_order():
    (answers,) = annotator().annotate([large()], [["green"]])
    assert [answer.class_name for answer in answers] == ["green"]


def test_tiling_is_part_of_an_answers_identity():
    digests = {tile: AnnotateParams(tile=tile).digest() for tile in ("auto", "off", 640, 320)}
    assert len(set(digests.values())) == 4


def test_a_huge_picture_takes_a_bounded_number_of_tiles():
    grid = Grid.over(9000, 12000, 100)
    assert len(grid) <= MOST_TILES
    assert (grid.total(np.s_[:]) > 0).all()
    assert Grid.over(50, 70, 100).size == (50, 70)
