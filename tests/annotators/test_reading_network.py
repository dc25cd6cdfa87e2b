"""Laws of the annotator of a network that reads exemplars and names, whatever its weights are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.annotators.sets import exemplar_set, picture, scene
from tests.network.knowing import Knowing
from tlg import exemplars
from tlg.annotators.network import NetworkAnnotator, NetworkModel
from tlg.errors import SpecError
from tlg.evidence.fusion import bounded_log_odds
from tlg.evidence.names.classifier import ClassifierNames
from tlg.evidence.names.said import borne_out, said
from tlg.evidence.reach import Witnesses
from tlg.evidence.readiness import Readiness
from tlg.exemplars import LoadedExemplars, address_of_names
from tlg.hub import zoo
from tlg.hub.folder import Model
from tlg.network.spec import NetworkSpec
from tlg.network.tlg import TLG
from tlg.pictures import Picture

KNOWN = ("dog", "car")


@pytest.fixture(scope="module")
def model() -> NetworkModel:
    torch.manual_seed(0)
    backbone = Knowing().freeze()
    spec = NetworkSpec(backbone="tiny", behaviour="reading", width=16, support_grid=6, names=True)
    return NetworkModel(
        Model(name="reading", digest="0", backbone=backbone, input_size=(96, 96), network=TLG(spec, backbone).eval())
    )


@pytest.fixture(scope="module")
def annotator(model: NetworkModel) -> NetworkAnnotator:
    return model.with_exemplars(exemplar_set(KNOWN))


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [picture(scene([50, number], ["mug"], "mug")) for number in range(3)]


@pytest.fixture(autouse=True)
def everything_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlg.annotators.network.PRESENT", 0.0)


def test_batch_equals_single(annotator: NetworkAnnotator, pictures: list[Picture]) -> None:
    alone = [annotator.annotate([single])[0] for single in pictures]
    assert annotator.annotate(pictures) == alone


def test_what_is_asked_changes_no_answer(annotator: NetworkAnnotator, pictures: list[Picture]) -> None:
    ((second,),) = annotator.annotate(pictures[:1], [[KNOWN[1]]])
    assert second == annotator.annotate(pictures[:1])[0][1]


def with_masks(shares: Sequence[float]) -> LoadedExemplars:
    """The first class's exemplars with these shares of their pictures drawn, from the top."""
    plain = exemplar_set(KNOWN)
    shown = []
    for exemplar, share in zip(plain.classes[0].exemplars, shares, strict=False):
        mask = np.zeros(exemplar.pixels.shape[:2], bool)
        mask[: round(share * len(mask))] = True
        shown.append(replace(exemplar, mask=mask))
    return replace(plain, classes=(replace(plain.classes[0], exemplars=tuple(shown)), *plain.classes[1:]))


def test_the_masks_that_people_drew_say_how_large_a_thing_is(model: NetworkModel, annotator: NetworkAnnotator) -> None:
    assert annotator.readiness == [Readiness()] * 2
    small, large = (model.with_exemplars(with_masks([share] * 3)).readiness for share in (0.1, 0.9))
    assert small[1] == large[1] == Readiness()
    assert small[0].extent == pytest.approx(0, abs=0.1)
    assert large[0].extent > 1


def test_a_single_drawn_exemplar_is_not_tried(model: NetworkModel) -> None:
    untried = Readiness(extent=pytest.approx(1.76, abs=0.1), asks_picture=1.0, drawn_share=pytest.approx(0.9, abs=0.01))
    assert model.with_exemplars(with_masks([0.9])).readiness[0] == untried


def test_what_the_picture_says_of_names_is_asked_whatever_exemplars_say(
    annotator: NetworkAnnotator, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[Witnesses] = []
    monkeypatch.setattr(annotator, "trusted", [False] * len(KNOWN))
    monkeypatch.setattr(Readiness, "applied", lambda self, margin_HW, witnesses: met.append(witnesses) or margin_HW)
    annotator.annotate(pictures[:1])
    image_13HW = annotator._input(pictures[0].pixels)
    assert annotator.names is not None
    odds_N = annotator.names.odds(annotator.names.see(image_13HW, annotator._encode(image_13HW)))[0]
    assert [one.name_odds() for one in met] == pytest.approx(odds_N.tolist())
    assert [one.by_name for one in met] == [None] * len(KNOWN)


def test_where_the_prior_counts_alone_its_map_is_the_answer(model: NetworkModel, pictures: list[Picture]) -> None:
    annotator = model.with_exemplars(with_masks([0.5] * 3))
    annotator.readiness[0] = Readiness(prior_share=1.0)
    features = annotator._encode(annotator._input(pictures[0].pixels))
    odds_HW = bounded_log_odds(annotator._prior_map(features, 0))
    margin_HW = torch.randn_like(odds_HW)
    witnesses = Witnesses(features.maps[0][0], lambda: annotator._prior_map(features, 0), None, lambda: 0.0)
    assert torch.equal(annotator.readiness[0].applied(margin_HW, witnesses), odds_HW)
    monkeyed = annotator.annotate(pictures[:1])[0][0]
    annotator.readiness[0] = Readiness()
    assert monkeyed != annotator.annotate(pictures[:1])[0][0]


def test_no_prior_of_a_query_is_made(
    annotator: NetworkAnnotator, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network would not read it")

    monkeypatch.setattr(type(annotator.fitted), "maps", refused)
    assert len(annotator.annotate(pictures)) == len(pictures)


def test_names_are_heard_where_exemplars_bear_them_out(
    annotator: NetworkAnnotator, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []
    segment = annotator.network.segment

    def watched(query, prior, supports, text, named):
        heard.append(named)
        return segment(query, prior, supports, text, named)

    monkeypatch.setattr(annotator.network, "segment", watched)
    for trusted in ([True, False], [False, True]):
        monkeypatch.setattr(annotator, "trusted", trusted)
        annotator.annotate(pictures[:1])
        assert [bool(of_class.any()) for of_class in heard[-1].place[0]] == trusted
        assert [bool(odds) for odds in heard[-1].picture[0]] == trusted


def test_a_name_that_says_little_more_than_chance_of_its_exemplars_is_not_trusted() -> None:
    source = ClassifierNames(Knowing(), ["dog", "car", "type A"], (8, 8))
    odds = torch.tensor([[4.0, -1.0, 0.0], [-1.0, -1.0, 0.0], [5.0, 3.0, 0.0]])
    assert borne_out(source, odds, [0, 0, 1]) == [True, True, False]
    assert borne_out(source, odds, [0, 1, 2]) == [True, False, False]


def test_an_untrusted_name_says_nothing() -> None:
    backbone = Knowing()
    features = backbone.encode(torch.randn(1, 3, 64, 64))
    source = ClassifierNames(backbone, ["dog", "car"], (8, 8))
    nothing = said(source, backbone.class_maps(features), [0, 1], [False, False], (8, 8))
    assert not nothing.place.any()
    assert not nothing.picture.any()


def by_names(*names: str) -> LoadedExemplars:
    return exemplars.load(address_of_names(",".join(names)))


def test_known_names_need_no_exemplars(model: NetworkModel, pictures: list[Picture]) -> None:
    answers = model.with_exemplars(by_names(*KNOWN)).annotate(pictures)
    assert [[answer.class_name for answer in of] for of in answers] == [[*KNOWN]] * len(pictures)


def test_an_unknown_name_without_exemplars_is_refused_by_name(model: NetworkModel) -> None:
    with pytest.raises(SpecError, match=r"'type A'.*knows no such thing"):
        model.with_exemplars(by_names("dog", "type A"))


def test_a_model_that_reads_no_names_says_so() -> None:
    with pytest.raises(SpecError, match="does not read names"):
        NetworkModel(zoo.load("tlg-tiny")).with_exemplars(by_names("mug"))


@pytest.mark.parametrize(("names", "said"), [("dog, Dog", "'dog'"), ("dog,,cat", "can be seen"), ("", "can be seen")])
def test_names_are_told_apart_and_can_be_seen(names: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        by_names(names)
