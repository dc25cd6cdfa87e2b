"""An exemplar that is not what its class says is named, and a typical one is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.annotators.sets import NAMES, exemplar_set, scene
from tests.network.knowing import Knowing
from tlg import world
from tlg.annotators import check as module
from tlg.annotators.check import ExemplarCheck, ExemplarChecker, overlap
from tlg.evidence.own_maps import own_maps
from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars
from tlg.hub import zoo
from tlg.hub.folder import Model
from tlg.network.spec import NetworkSpec
from tlg.network.tlg import TLG

WRONG = "wrong"
KNOWN = ("dog", "car")


def masked(name: str, seed: int) -> LoadedExemplar:
    drawn = scene([3, seed], [name], name)
    return LoadedExemplar(f"{name}{seed}", drawn.image, drawn.labels == world.index_of(name) + 1)


@pytest.fixture(scope="module")
def with_a_wrong_one() -> LoadedExemplars:
    """Mugs, among them a truck; trucks."""
    mugs = [masked("mug", seed) for seed in range(3)]
    mugs.append(dataclasses.replace(masked("truck", 9), uri=WRONG))
    trucks = [masked("truck", seed) for seed in range(3)]
    classes = tuple(
        LoadedClass(name, number, None, (), tuple(shown))
        for number, (name, shown) in enumerate(zip(NAMES, (mugs, trucks), strict=True), start=1)
    )
    return LoadedExemplars("set", classes, (), "digest")


def test_the_wrong_exemplar_is_named(with_a_wrong_one: LoadedExemplars) -> None:
    checked = list(ExemplarChecker(zoo.load("tlg-tiny"), with_a_wrong_one).check())
    assert [check.uri for check in checked if check.warning] == [WRONG]


def test_an_only_exemplar_cannot_be_checked_and_says_so() -> None:
    sets = exemplar_set()
    alone = dataclasses.replace(sets.classes[0], exemplars=sets.classes[0].exemplars[:1])
    single = dataclasses.replace(sets, classes=(alone, *sets.classes[1:]))
    first, *rest = ExemplarChecker(zoo.load("tlg-tiny"), single).check()
    assert first.presence is None
    assert "only exemplar" in str(first.warning)
    assert all(check.presence is not None for check in rest)


def reading_model(reads_names: bool) -> Model:
    torch.manual_seed(0)
    backbone = Knowing().freeze()
    spec = NetworkSpec(backbone="tiny", behaviour="reading", width=16, support_grid=6, names=reads_names)
    return Model("reading", "0", backbone, TLG(spec, backbone).eval(), input_size=(96, 96))


@pytest.mark.parametrize("reads_names", [False, True])
def test_a_reading_network_judges_masks_itself(with_a_wrong_one: LoadedExemplars, reads_names: bool) -> None:
    checked = list(ExemplarChecker(reading_model(reads_names), with_a_wrong_one).check())
    assert all(check.overlap is not None for check in checked)


def test_names_that_exemplars_bear_out_have_their_say(
    with_a_wrong_one: LoadedExemplars, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [dataclasses.replace(of, name=name) for of, name in zip(with_a_wrong_one.classes, KNOWN, strict=True)]
    checker = ExemplarChecker(reading_model(True), dataclasses.replace(with_a_wrong_one, classes=tuple(known)))
    told = []
    monkeypatch.setattr(module, "borne_out", lambda *_: [True, False])
    monkeypatch.setattr(module, "own_maps", lambda net, shots, shown: told.extend(shown) or own_maps(net, shots, shown))
    count = sum(len(of.exemplars) * (len(of.exemplars) - 1) for of in known[:1])
    named = list(checker.check())
    assert all(one.by_name is not None for one in told[:count])
    assert all(one.by_name is None for one in told[count:])
    monkeypatch.setattr(module, "borne_out", lambda *_: [False, False])
    nameless = list(checker.check())
    mugs = len(known[0].exemplars)
    assert all(one.presence != other.presence for one, other in zip(named[:mugs], nameless[:mugs], strict=True))
    assert [one.presence for one in named[mugs:]] == [one.presence for one in nameless[mugs:]]


@pytest.mark.parametrize(
    ("presence", "overlapping", "said"),
    [(0.9, 0.8, None), (0.9, None, None), (0.2, 0.8, "do not find"), (0.9, 0.1, "mask"), (None, None, "only")],
)
def test_warnings_say_what_is_wrong(presence: float | None, overlapping: float | None, said: str | None) -> None:
    warning = ExemplarCheck("mug", "a.jpg", presence, overlapping).warning
    assert warning is None if said is None else said in str(warning)


def test_overlap_is_intersection_over_union() -> None:
    found, drawn = torch.zeros(4, 4), torch.from_numpy(np.eye(4, dtype=np.float32))
    found[0] = 1
    assert overlap(found, drawn) == pytest.approx(1 / 7)
