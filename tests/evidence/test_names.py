"""What the backbone's classifier says of names: where a picture shows them, and whether it does at all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tlg.evidence.fusion import unmasked_map
from tlg.evidence.names.classifier import ClassifierNames, reads_names
from tlg.evidence.names.said import borne_out
from tlg.evidence.names.taught import TaughtKinds, TaughtNames
from tlg.evidence.names.words import imagenet_rows, kind_of
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone
from tlg.network.features import Features

SIZE = (32, 48)


class Labelled(Backbone):
    """A backbone whose deepest map already holds the thousand logits."""

    class_names = tuple(map(str, range(1000)))

    def class_logits(self, vectors_IC: Tensor) -> Tensor:
        return vectors_IC


def shown(*classes: int) -> Features:
    """A picture (1, 1000, 4, 6) whose left half is of these classes."""
    logits = 0.1 * torch.randn(1, 1000, 4, 6, generator=torch.Generator().manual_seed(0))
    for row in classes:
        logits[:, row, :, :3] += 24
    return Features([logits], SIZE)


@pytest.fixture
def source() -> ClassifierNames:
    return ClassifierNames(Labelled(), ["dog", "teapot", "type A"], SIZE)


def test_a_name_is_known_where_it_has_classes(source: ClassifierNames) -> None:
    assert list(source.known) == [True, True, False]


def test_the_map_marks_the_half_that_shows_the_name(source: ClassifierNames) -> None:
    (poodle, *_), (teapot,) = imagenet_rows("poodle"), imagenet_rows("teapot")
    for index, row in ((0, poodle), (1, teapot)):
        map_HW = source.map(source.see(torch.zeros(1, 3, *SIZE), shown(row)), index)
        assert map_HW.shape == SIZE
        assert map_HW[:, :18].min() > 0.5 > map_HW[:, 30:].max()


def test_a_picture_of_a_dog_speaks_for_dogs_and_not_for_teapots(source: ClassifierNames) -> None:
    seen = source.see(torch.zeros(1, 3, *SIZE), shown(imagenet_rows("poodle")[0]))
    dog, teapot, unknown = source.odds(seen)[0].tolist()
    assert dog > 1
    assert teapot == pytest.approx(0, abs=0.2)
    assert unknown == pytest.approx(0, abs=1e-4)


def test_a_name_of_many_classes_gains_nothing_by_their_number() -> None:
    source = ClassifierNames(Labelled(), ["dog", "teapot"], SIZE)
    dog, teapot = source.odds(torch.zeros(1, 1000, 4, 6))[0].tolist()
    assert dog == pytest.approx(0, abs=1e-3)
    assert teapot == pytest.approx(0, abs=1e-3)


def test_a_small_thing_is_noticed(source: ClassifierNames) -> None:
    features = shown()
    features.maps[0][:, imagenet_rows("teapot")[0], 0, :2] += 24
    assert source.odds(source.see(torch.zeros(1, 3, *SIZE), features))[0, 1] > 0


def test_only_a_classifier_of_the_thousand_reads_names() -> None:
    assert reads_names(Labelled())
    assert not reads_names(build_backbone("tiny"))


class TaughtDogs(TaughtKinds):
    """Sees dogs in the left half of every picture."""

    def __init__(self) -> None:
        super().__init__(build_backbone("tiny"), ["dog"], 16)
        self.read = (0,)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        odds = torch.full((len(maps[0]), 1, 4, 6), -4.0)
        odds[..., :3] = 4
        return odds


@pytest.fixture
def taught() -> TaughtNames:
    names = ["puppies", "teapot", "type A"]
    return TaughtNames(TaughtDogs(), names, SIZE, ClassifierNames(Labelled(), names, SIZE))


def test_what_was_taught_speaks_first_and_the_classifier_of_the_rest(taught: TaughtNames) -> None:
    assert taught.taught == [True, False, False]
    assert taught.known == [True, True, False]
    teapot = imagenet_rows("teapot")[0]
    seen = taught.see(torch.zeros(1, 3, *SIZE), shown(teapot))
    below = ClassifierNames(Labelled(), ["teapot"], SIZE)
    assert taught.map(seen, 0)[:, :18].min() > 0.9
    assert taught.map(seen, 0)[:, 30:].max() < 0.1
    assert torch.equal(taught.map(seen, 1), below.map(seen.below, 0))
    assert taught.odds(seen)[0, 0] == pytest.approx(4, abs=0.1)
    assert taught.odds(seen)[0, 1] == pytest.approx(float(below.odds(seen.below)[0, 0]))


def test_a_taught_name_without_a_source_below_is_told_alone() -> None:
    alone = TaughtNames(TaughtDogs(), ["dog", "teapot"], SIZE, None)
    assert alone.known == [True, False]
    assert alone.odds(alone.see(torch.zeros(1, 3, *SIZE), shown())).tolist()[0][1] == 0


@pytest.mark.parametrize(("odds", "is_trusted"), [(-2.0, True), (-4.0, False)])
def test_a_taught_name_is_trusted_unless_its_exemplars_deny_it(
    taught: TaughtNames, odds: float, is_trusted: bool
) -> None:
    of_exemplars = torch.tensor([[odds, 0.1, 0.0]])
    assert borne_out(taught, of_exemplars, [0])[0] is is_trusted
    assert not borne_out(taught, of_exemplars, [1])[1]


def test_a_taught_exemplar_is_taken_at_the_name_s_word() -> None:
    doubtful, sure = torch.full((1,), 0.5), torch.full((1,), 0.97)
    assert unmasked_map(doubtful, sure, taught=True) > 0.9
    assert unmasked_map(doubtful, sure) < 0.7


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pedestrian", "person"), ("Football players", "person"), ("aeroplane", "airplane"), ("oak tree", "tree"),
     ("traffic sign", "sign"), ("type A", None), ("fence", None), ("", None)],
)  # fmt: skip
def test_a_name_falls_under_a_kind_by_wordnet(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind
