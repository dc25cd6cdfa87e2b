"""The bundled model behind one call: its laws on scenes of classes that its network never saw."""

import dataclasses
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.annotators.sets import NAMES, exemplar_set, picture, scene
from tlg import world
from tlg.annotators import masks, network, protocol
from tlg.annotators.masks import soft_iou
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator, model_digest
from tlg.answers import records
from tlg.evaluation.hints import boxes_around
from tlg.evidence import cosegment, cutout, drawn, fusion, own_maps, reach, readiness
from tlg.evidence.names import classifier
from tlg.exemplars import LoadedExemplar
from tlg.hub import zoo
from tlg.network.reading import extent
from tlg.pictures import Picture


@pytest.fixture(scope="module")
def annotator():
    return load_annotator("tlg-tiny", exemplar_set(), AnnotateParams(tile="off"), device="cpu")


@pytest.fixture(scope="module")
def scenes():
    return [scene([50, k], [NAMES[k % 2]], NAMES[k % 2]) for k in range(4)] + [scene([60, 0], ["castle"], "castle")]


def test_an_answer_is_the_same_in_any_batch(annotator, scenes, monkeypatch):
    """To the last bit: nothing is rounded here, and company changes no shape that a picture goes through."""
    monkeypatch.setattr(network, "DECIMALS", 17)
    pictures = [picture(one) for one in scenes]
    alone = [annotator.annotate([one])[0] for one in pictures]
    assert annotator.annotate(pictures) == alone
    assert annotator.annotate(pictures[::-1]) == alone[::-1]
    assert annotator.annotate(pictures[1:3]) == alone[1:3]


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
    unknown = load_annotator("tlg-tiny", exemplar_set(("defect b3", "zzyzx")), AnnotateParams(tile="off"), device="cpu")
    renamed = dataclasses.replace(exemplar_set(("qwrt", "vbnm")), digest="other")
    other = load_annotator("tlg-tiny", renamed, AnnotateParams(tile="off"), device="cpu")
    first, second = (one.annotate([picture(scenes[0])])[0] for one in (unknown, other))
    assert [one.rle for one in first] == [one.rle for one in second]
    assert [one.presence for one in first] == [one.presence for one in second]


@pytest.mark.parametrize("names", [("狐狸", "лиса"), ("été", "αλεπού"), ("mug 狐", "...")])
def test_names_in_any_script_go_by_their_exemplars(annotator, scenes, names):
    """A letter that CLIP has no token for would be left out, and all such names would be the same text to it."""
    other = load_annotator("tlg-tiny", exemplar_set(names), AnnotateParams(tile="off"), device="cpu")
    unknown = load_annotator("tlg-tiny", exemplar_set(("zzyzx", "qwrt")), AnnotateParams(tile="off"), device="cpu")
    assert other.known == [False, False]
    assert annotator.known == [True, True]
    first, second = (one.annotate([picture(scenes[0])])[0] for one in (other, unknown))
    assert [(one.rle, one.presence) for one in first] == [(one.rle, one.presence) for one in second]


def test_other_code_gives_answers_another_identity(monkeypatch):
    digest = AnnotateParams().digest()
    monkeypatch.setattr(protocol, "ANSWERING_VERSION", protocol.ANSWERING_VERSION + 1)
    assert AnnotateParams().digest() != digest


def test_what_the_code_answers_by_is_what_its_version_says():
    """Whoever changes one of these changes answers, and counts `ANSWERING_VERSION` up with it."""
    settings = (protocol.PRESENT, masks.NEAR, fusion.TEXT_SHARE, fusion.CERTAINTY, fusion.LEEWAY)
    votes = (cosegment.VOTE_WEIGHT, cosegment.VOTE_TEMPERATURE, cosegment.THRESHOLD, cosegment.SLOPE)
    names = (fusion.DOUBT, classifier.STRONGEST, classifier.SPEAKING, classifier.SLOPE)
    extents = (extent.EVEN_SHARE, extent.COUNTED)
    trials = (readiness.SHIFT_COSTS, readiness.PRIOR_COSTS, readiness.BELIEVED, readiness.MOST_TRIED)
    tried = (own_maps.MOST_OTHERS, *trials)
    agreed = (fusion.NAME_AGREES, own_maps.OTHERS_AGREE, own_maps.SURELY_OUTSIDE, own_maps.NAMELESS_DOUBT)
    reached = (reach.FARTHEST, reach.STEP, reach.SHARPNESS, reach.BORDER_COUNTS, reach.EVENNESS)
    say = (readiness.EXEMPLARS_AGREE, reach.SURELY_THERE, reach.BESIDE_A_SURE_NAME)
    of_drawings = (reach.BESIDE_A_DRAWING, reach.BESIDE_A_LARGE_DRAWING, reach.LARGE)
    cut = (drawn.NAME_AGREES, cutout.LEANING_KEPT, own_maps.DRAWN_OUTSIDE)
    found = (protocol.ANSWERING_VERSION, settings, votes, names, extents, tried, agreed, reached, cut, say, of_drawings)
    before = ((0.5, 1 / 20, 0.5, 0.01, 2.5), (2.0, 0.07, 0.4, 3.0), (3, 3, 0.1, 4.0), (0.1, 0.4))
    since = (
        ((0.5, 0.7), (0.5, 0.6), 5, 8),
        (3.0, 0.5, 20.0, 0.5, 0.5),
        ((0.2, 0.5), 0.5, 3),
        ((0.5, 1.0), 2.0, (0.35, 0.55)),
        ((0.85, 0.95), (0.5, 0.7), (0.15, 0.3)),
    )
    assert found == (10, *before, (4, 0.01, 0.1, 0.5, 8), *since)


def test_classes_that_are_absent_or_not_asked_are_not_looked_for(annotator, scenes, monkeypatch):
    looked_for = []
    maps = annotator.fitted.maps

    def watched(features, image, classes):
        looked_for.append(list(classes))
        return maps(features, image, classes)

    monkeypatch.setattr(type(annotator.fitted), "maps", lambda self, *arguments: watched(*arguments))
    answers = annotator.annotate([picture(one) for one in scenes])
    present = [[one.class_id - 1 for one in of if one.presence >= protocol.PRESENT] for of in answers]
    assert looked_for == [of for of in present if of]
    looked_for.clear()
    assert annotator.annotate([picture(scenes[0])], [[]]) == [[]]
    assert looked_for == []


def test_exemplars_seen_a_second_time_are_read_as_those_that_were_kept(annotator, monkeypatch):
    monkeypatch.setattr(network, "KEPT_PYRAMIDS_BYTES", 0)
    again = load_annotator("tlg-tiny", exemplar_set(), AnnotateParams(tile="off"), device="cpu")
    for kept, seen in zip(annotator.supports, again.supports, strict=True):
        for one, other in zip(kept.tokens.foreground, seen.tokens.foreground, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(("at_once", "passes"), [({}, [12]), ({"cpu": 1}, [1] * 12)], ids=["as on a GPU", "on a CPU"])
def test_a_gpu_sees_the_whole_batch_and_a_cpu_picture_by_picture(annotator, scenes, monkeypatch, at_once, passes):
    assert network.PICTURES_AT_ONCE == {"cpu": 1}
    monkeypatch.setattr(network, "PICTURES_AT_ONCE", at_once)
    seen = []
    handle = annotator.model.backbone.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    annotator.annotate([picture(scenes[0])] * 12, [["mug"]] * 12)
    handle.remove()
    assert seen == passes


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 900), (192, 192), (301, 77)])
def test_a_mask_at_a_picture_s_size_is_the_bilinear_one(height, width, monkeypatch):
    monkeypatch.setattr(masks, "STRIP_PLACES", 1000)
    map_hw = torch.rand(40, 30, generator=torch.Generator().manual_seed(1))
    whole = F.interpolate(map_hw[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
    mask = torch.from_numpy(masks.mask_of_size(map_hw, height, width).copy())
    certain = (whole - 0.5).abs() > 1e-5
    assert torch.equal(mask[certain], (whole > 0.5)[certain])


@pytest.mark.long
def test_a_picture_of_400_megapixels_is_answered_in_bounded_memory():
    """In a process of its own, whose highest memory is told: before, each mask took four bytes a pixel and more."""
    program = """
import resource, numpy as np
from tests.annotators.sets import exemplar_set, scene
from tlg.annotators.registry import load_annotator
from tlg.pictures import Picture

annotator = load_annotator("tlg-tiny", exemplar_set(), device="cpu")
pixels = scene([50, 0], ["mug"], "mug").image
annotator.annotate([Picture(pixels, 192, 192)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(answers,) = annotator.annotate([Picture(pixels, 20_000, 20_000)])
assert answers[0].status == "mask" and answers[0].rle["size"] == [20_000, 20_000], answers
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 400e6)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3.5


def test_faint_odds_far_away_do_not_outweigh_a_small_object():
    map_HW = torch.full((400, 400), 0.02)
    map_HW[100:130, 100:130] = 1
    without = map_HW.clone()
    without[200:], without[:, 200:] = 0, 0
    assert soft_iou(map_HW) == soft_iou(without) > 0.8  # summed over the whole picture it was 0.22
    blurred = map_HW.clone()
    blurred[80:150, 80:150] = blurred[80:150, 80:150].clamp_min(0.45)
    assert soft_iou(blurred) < 0.5


def test_the_digest_is_known_without_loading(annotator):
    assert annotator.model_digest == model_digest("tlg-tiny") == zoo.load("tlg-tiny").digest


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (64, 48)])
@pytest.mark.parametrize("reach", [1, 4, 19])
def test_what_is_near_is_what_a_square_around_it_holds(size, reach):
    marked = torch.rand(size, generator=torch.Generator().manual_seed(reach)) < 0.02
    square = F.pad(marked[None, None].float(), (reach,) * 4)
    near = F.max_pool2d(square, 2 * reach + 1, 1)[0, 0] > 0
    assert torch.equal(masks.near_rows(masks.near_rows(marked, reach).T, reach).T, near)


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
    annotator = load_annotator("tlg-tiny", exemplar_set(), AnnotateParams(tile="off"))
    (answers,) = annotator.annotate([picture(scene(3, ["mug"]))], [None])
    assert {answer.class_name for answer in answers} == set(NAMES)


def test_a_box_on_an_exemplar_says_which_of_its_objects_the_class_is():
    """The exemplars of both classes are one picture of both objects: nothing but the boxes tells them apart."""
    scenes = (scene([70, number], list(NAMES)) for number in range(20))
    both = next(one for one in scenes if {world.index_of(name) + 1 for name in NAMES} <= set(np.unique(one.labels)))
    truths = [both.labels == world.index_of(name) + 1 for name in NAMES]
    exemplars = exemplar_set()
    classes = tuple(
        dataclasses.replace(of, exemplars=(LoadedExemplar(of.name, both.image, drawing=boxes_around(truth)),))
        for of, truth in zip(exemplars.classes, truths, strict=True)
    )
    boxed = load_annotator(
        "tlg-tiny", dataclasses.replace(exemplars, classes=classes), AnnotateParams(tile="off"), device="cpu"
    )
    size = boxed.model.input_size
    for map_HW, truth in zip(boxed.fitted.support_maps, truths, strict=False):
        truth_HW = F.interpolate(torch.from_numpy(truth)[None, None].float(), size, mode="area")[0, 0] > 0.5
        found_HW = map_HW > 0.5
        assert (found_HW & truth_HW).sum() / (found_HW | truth_HW).sum() > 0.5


def test_objects_are_parts_of_the_mask_and_change_nothing_else(annotator, scenes):
    shown = [picture(one) for one in scenes[:2]]
    whole = [answer for answers in annotator.annotate(shown) for answer in answers]
    parting = load_annotator("tlg-tiny", exemplar_set(), AnnotateParams(objects=True, tile="off"), device="cpu")
    parted = [answer for answers in parting.annotate(shown) for answer in answers]
    assert [dataclasses.replace(answer, parts=()) for answer in parted] == whole
    of_mask = [answer for answer in parted if answer.status == "mask"]
    assert of_mask
    for answer in of_mask:
        assert answer.parts
        together = np.sum([part.mask for part in answer.parts], axis=0)
        assert together.max() == 1
        assert not (together.astype(bool) & ~answer.mask).any()


def test_parameters_of_objects_count_only_where_objects_are_asked_for():
    assert AnnotateParams(smallest_object=7).digest() == AnnotateParams().digest()
    digests = {AnnotateParams(objects=True, smallest_object=size).digest() for size in (7, 8)}
    assert len(digests | {AnnotateParams().digest()}) == 3
