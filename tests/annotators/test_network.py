"""The bundled model behind one call: its laws on scenes of classes that its network never saw."""

import dataclasses
import socket

import numpy as np
import pytest

from tests.annotators.sets import NAMES, exemplar_set, picture, scene
from tlg import world
from tlg.annotators.network import soft_iou
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator, model_digest
from tlg.answers import records
from tlg.hub import zoo
from tlg.pictures import Picture

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def annotator():
    return load_annotator("tlg-tiny", exemplar_set(), AnnotateParams(), device="cpu")


@pytest.fixture(scope="module")
def scenes():
    return [scene([50, k], [NAMES[k % 2]], NAMES[k % 2]) for k in range(4)] + [scene([60, 0], ["castle"], "castle")]


def test_batch_equals_single(annotator, scenes):
    together = annotator.annotate([picture(one) for one in scenes])
    alone = [annotator.annotate([picture(one)])[0] for one in scenes]
    assert together == alone


def test_only_the_asked_classes_are_answered(annotator, scenes):
    pictures = [picture(one) for one in scenes[:2]]
    answers = annotator.annotate(pictures, [["truck"], None])
    assert [[one.class_name for one in of] for of in answers] == [["truck"], ["mug", "truck"]]
    assert answers[0][0] == annotator.annotate(pictures)[0][1]


def test_masks_lie_on_the_objects(annotator, scenes):
    overlaps = []
    for k, answers in enumerate(annotator.annotate([picture(one) for one in scenes[:4]])):
        answer, truth = answers[k % 2], scenes[k].labels == world.index_of(NAMES[k % 2]) + 1
        assert answer.status == "mask"
        assert answer.rle is not None
        mask = records.decode_mask(answer.rle)
        overlaps.append((mask & truth).sum() / (mask | truth).sum())
    assert np.mean(overlaps) > 0.5


def test_answers_have_the_picture_s_own_size(annotator, scenes):
    small = Picture(scenes[0].image[::2, ::2], 384, 500)
    answer = annotator.annotate([small])[0][0]
    assert (answer.height, answer.width) == (384, 500)
    assert answer.rle is None or answer.rle["size"] == [384, 500]


def test_odd_shapes_are_answered(annotator):
    for shape in ((1, 1), (3, 500)):
        answers = annotator.annotate([Picture(np.zeros((*shape, 3), np.uint8), *shape)])[0]
        assert {(one.height, one.width) for one in answers} == {shape}


def test_a_name_that_clip_never_learned_goes_by_its_exemplars(scenes):
    unknown = load_annotator("tlg-tiny", exemplar_set(("defect b3", "zzyzx")), AnnotateParams(), device="cpu")
    renamed = dataclasses.replace(exemplar_set(("qwrt", "vbnm")), digest="other")
    other = load_annotator("tlg-tiny", renamed, AnnotateParams(), device="cpu")
    first, second = (one.annotate([picture(scenes[0])])[0] for one in (unknown, other))
    assert [one.rle for one in first] == [one.rle for one in second]
    assert [one.presence for one in first] == [one.presence for one in second]


def test_the_digest_is_known_without_loading(annotator):
    assert annotator.model_digest == model_digest("tlg-tiny") == zoo.load("tlg-tiny").digest


def test_soft_iou_is_one_where_all_is_certain():
    decided = torch.zeros(4, 4)
    decided[:2] = 1
    assert soft_iou(decided) == 1
    assert soft_iou(torch.full((4, 4), 0.6)) == pytest.approx(0.6)
    assert soft_iou(torch.zeros(4, 4)) == 0


def test_loading_and_answering_open_no_connection(monkeypatch):
    """Every file of a bundled model is there, its CLIP's tokenizer included."""

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    annotator = load_annotator("tlg-tiny", exemplar_set(), AnnotateParams())
    (answers,) = annotator.annotate([picture(scene(3, ["mug"]))], [None])
    assert {answer.class_name for answer in answers} == set(NAMES)
