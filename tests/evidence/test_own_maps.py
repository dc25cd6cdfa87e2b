"""What exemplars without a drawing are taken to show."""

from __future__ import annotations

import pytest
import torch

from tests.network.test_reading import network
from tlg.evidence import own_maps as module
from tlg.evidence.fusion import bounded_log_odds, unmasked_map
from tlg.evidence.own_maps import DRAWN_OUTSIDE, NAMELESS_DOUBT, Shown, own_maps

SIDE = 96


def thing(middle: float, doubt: float = 0.5) -> torch.Tensor:
    """(H, W): likely inside a disc, doubtful in a ring around it, unlikely elsewhere."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    distance = torch.hypot((y - middle).float(), (x - middle).float())
    return torch.full((SIDE, SIDE), 0.05).where(distance > 30, doubt).where(distance > 15, 0.95)


@pytest.fixture(scope="module")
def net():
    return network()


def shots(net, count):
    return net.encode(torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(count)))


def test_doubt_speaks_for_neither_side_where_name_and_likeness_agree(net, monkeypatch) -> None:
    monkeypatch.setattr(module, "_answer", lambda net, shot, support: bounded_log_odds(thing(48)))
    monkeypatch.setattr(type(net), "extent", lambda self, masks: masks.new_zeros(()))
    own = own_maps(net, shots(net, 1), [Shown(thing(48), by_name=thing(48))])
    ring = thing(48) == 0.5
    assert own.agreement.tolist() == [1.0]
    torch.testing.assert_close(own.inside, thing(48)[None])
    assert own.outside[0][ring].max() < 0.05
    assert own.outside[0][thing(48) == 0.05].min() > 0.7


@pytest.mark.parametrize(
    "shown",
    [
        Shown(thing(48)),
        Shown(thing(25), by_name=thing(75)),
        Shown(thing(48), by_name=thing(48), is_taught=True),
        Shown(thing(48), by_name=torch.full((SIDE, SIDE), 0.2)),
    ],
    ids=["no name", "elsewhere", "taught", "everywhere alike"],
)
def test_doubt_speaks_against_the_class_where_nobody_agrees(net, shown) -> None:
    own = own_maps(net, shots(net, 2), [shown, shown])
    assert own.agreement.tolist() == [0.0, 0.0]
    is_nameless = shown.by_name is None
    against = shown.map**NAMELESS_DOUBT if is_nameless else unmasked_map(shown.map, shown.by_name, shown.is_taught)
    assert torch.equal(own.inside[0], against)
    assert torch.equal(own.outside, 1 - own.inside)


@pytest.mark.parametrize("by_name", [None, thing(75)], ids=["no name", "elsewhere"])
def test_of_an_only_exemplar_doubt_speaks_against_the_class_as_far_as_it_is_unlikely(net, by_name) -> None:
    shown = Shown(thing(25), by_name=by_name)
    assert torch.equal(own_maps(net, shots(net, 1), [shown]).outside[0], 1 - shown.likely)


def test_an_only_exemplar_mends_by_its_own_answer_what_speaks_for_the_class(net, monkeypatch) -> None:
    """As far as its name agrees with likeness; without a name whole, and as far as the picture parts."""
    answer = bounded_log_odds(thing(70))
    monkeypatch.setattr(module, "_answer", lambda net, shot, support: answer)
    monkeypatch.setattr(module, "reach", lambda margin_HW, finest: 1.0)

    def inside(**name) -> torch.Tensor:
        return own_maps(net, shots(net, 1), [Shown(thing(48), **name)]).inside[0]

    found = (thing(70) > 0.9) & (thing(48) < 0.9)
    somewhat = thing(60)
    nameless, agreed, half = inside(), inside(by_name=thing(48)), inside(by_name=somewhat)
    assert 0 < Shown(thing(48), by_name=somewhat).agreement < 1
    extent = net.extent(thing(48)[None] ** NAMELESS_DOUBT)
    torch.testing.assert_close(nameless, torch.sigmoid((answer + bounded_log_odds(thing(48))) / 2 + extent + 1))
    torch.testing.assert_close(
        agreed, torch.sigmoid((answer + bounded_log_odds(thing(48))) / 2 + net.extent(thing(48)[None]))
    )
    assert half[found].mean() < agreed[found].mean()


@pytest.mark.parametrize(
    "shown",
    [
        Shown(thing(48), is_drawn=True),
        Shown(thing(48), by_name=thing(48), is_taught=True),
        Shown(thing(25), by_name=thing(75)),
    ],
    ids=["drawn", "taught", "a name that disagrees"],
)
def test_an_exemplar_that_needs_no_mending_or_bears_none_is_not_asked(net, shown, monkeypatch) -> None:
    def answer(*_: object) -> torch.Tensor:
        raise AssertionError

    monkeypatch.setattr(module, "_answer", answer)
    assert torch.equal(own_maps(net, shots(net, 1), [shown]).inside[0], shown.sure)


def test_a_taught_name_is_taken_at_its_word_however_few_the_exemplars(net) -> None:
    taught = Shown(thing(30), by_name=thing(60), is_taught=True)
    for own in (own_maps(net, shots(net, 1), [taught]), own_maps(net, shots(net, 2), [taught] * 2)):
        assert torch.equal(own.inside[0], unmasked_map(taught.map, taught.by_name, True))
        assert torch.equal(own.outside, 1 - own.inside)


def test_what_a_person_drew_stays_beside_exemplars_that_agree(net) -> None:
    mask = (thing(40) > 0.9).float()
    shown = [Shown(mask, is_drawn=True, by_name=thing(40)), *(Shown(thing(48), by_name=thing(48)) for _ in range(2))]
    own = own_maps(net, shots(net, 3), shown)
    assert own.agreement.tolist() == [0.0, 1.0, 1.0]
    assert torch.equal(own.inside[0], mask)
    assert torch.equal(own.outside[0], 1 - mask)
    alone = own_maps(net, shots(net, 1), shown[1:2])
    assert not torch.allclose(own.inside[1], alone.inside[0])


def test_doubtful_places_of_a_drawing_hardly_speak_against_the_class(net) -> None:
    drawn = Shown(thing(48), is_drawn=True)
    for own in (own_maps(net, shots(net, 1), [drawn]), own_maps(net, shots(net, 2), [drawn] * 2)):
        assert torch.equal(own.inside[0], thing(48))
        assert torch.equal(own.outside[0], (1 - thing(48)) ** DRAWN_OUTSIDE)


def test_so_many_others_answer_an_exemplar(net, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_OTHERS", 2)
    asked, encode = [], type(net).encode_support
    monkeypatch.setattr(type(net), "encode_support", lambda *given: asked.append(len(given[1])) or encode(*given))
    own_maps(net, shots(net, 5), [Shown(thing(48), by_name=thing(48))] * 5)
    assert asked == [2] * 5
