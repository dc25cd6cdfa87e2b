"""How far a class with an only exemplar reaches: to where the picture parts, if likeness and name agree."""

from __future__ import annotations

import pytest
import torch

from tests.network.test_reading import network
from tlg.evidence.own_maps import Shown, own_maps
from tlg.evidence.reach import FARTHEST, SURELY_THERE, Witnesses, reach
from tlg.evidence.readiness import Readiness, readiness

SIDE = 96
# Of its picture, a drawn thing.
SMALL = 0.1


def distance() -> torch.Tensor:
    """(H, W) from the middle."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return torch.hypot((y - 48).float(), (x - 48).float())


def cone(radius: float) -> torch.Tensor:
    """(H, W) log-odds that fall evenly from the middle and are even at so many pixels."""
    return (radius - distance()) / 4


def disc(radius: float) -> torch.Tensor:
    """(1, h, w): a picture of one thing."""
    return (distance()[::4, ::4] < radius).float()[None]


def nothing() -> float:
    return SURELY_THERE - 0.1


def surely() -> float:
    return SURELY_THERE


@pytest.mark.parametrize("found", [20, 26, 32, 36])
def test_the_class_ends_where_the_picture_parts(found: int) -> None:
    # 4 pixels are one step of the log-odds.
    assert reach(cone(found), disc(28)) == pytest.approx((28 - found) / 4, abs=0.6)


def test_no_more_than_so_far() -> None:
    assert reach(cone(8), disc(44)) <= FARTHEST
    assert reach(cone(44), disc(8)) >= -FARTHEST


def test_a_picture_without_parts_moves_nothing_far() -> None:
    assert abs(reach(cone(28), torch.ones(1, 24, 24))) < 1
    assert torch.isfinite(torch.tensor(reach(torch.zeros(SIDE, SIDE), torch.ones(1, 24, 24))))


def test_it_asks_for_agreement() -> None:
    margin = cone(20)
    inside, elsewhere = (cone(28)).sigmoid(), (cone(28)).roll(40, 1).sigmoid()
    agreed = Witnesses(disc(28), lambda: inside, inside, nothing)
    assert (agreed.reached(margin) - margin).mean() > 1.4
    for witnesses in (
        Witnesses(disc(28), lambda: inside, elsewhere, nothing),
        Witnesses(disc(28), lambda: elsewhere, elsewhere, nothing),
        Witnesses(disc(28), lambda: elsewhere, inside, surely),
    ):
        assert torch.equal(witnesses.reached(margin), margin)


@pytest.mark.parametrize("by_name", [None, cone(28).roll(40, 1).sigmoid()], ids=["denied", "elsewhere"])
def test_a_name_that_is_surely_there_need_not_say_where(by_name: torch.Tensor | None) -> None:
    margin, inside = cone(20), cone(28).sigmoid()
    unsure, sure = (Witnesses(disc(28), lambda: inside, by_name, odds).reached(margin) for odds in (nothing, surely))
    assert torch.equal(unsure, margin)
    assert (sure - margin).mean() > 1.4


def test_beside_a_drawing_the_picture_is_asked_where_a_sure_name_and_likeness_hardly_differ_from_the_answer() -> None:
    margin = cone(20)
    alike, less_alike = margin.sigmoid(), cone(32).sigmoid()
    sure, unsure, apart = (
        Witnesses(disc(28), lambda likeness=likeness: likeness, alike, odds)
        for likeness, odds in ((alike, surely), (alike, nothing), (less_alike, surely))
    )
    assert (sure.reached(margin, drawn_share=SMALL) - margin).mean() > 1.4
    assert torch.equal(unsure.reached(margin, drawn_share=SMALL), margin)
    assert torch.equal(apart.reached(margin, drawn_share=SMALL), margin)
    assert not torch.equal(apart.reached(margin), margin)


def test_beside_a_drawing_of_a_large_thing_likeness_need_not_agree_as_much() -> None:
    margin = cone(20)
    near, elsewhere = cone(32).sigmoid(), cone(20).roll(40, 1).sigmoid()
    agreed, unsure, other = (
        Witnesses(disc(28), lambda likeness=likeness: likeness, None, odds)
        for likeness, odds in ((near, surely), (near, nothing), (elsewhere, surely))
    )
    small, middling, large = (agreed.reached(margin, share) - margin for share in (SMALL, 0.2, 0.4))
    assert 0 == small.mean() < middling.mean() < large.mean()
    assert torch.equal(unsure.reached(margin, 0.4), margin)
    assert torch.equal(other.reached(margin, 0.4), margin)


def test_where_nobody_knows_the_name_the_prior_is_not_asked() -> None:
    def unasked() -> torch.Tensor:
        raise AssertionError

    margin = cone(20)
    witnesses = Witnesses(disc(28), unasked, None, nothing)
    assert witnesses.reached(margin) is margin
    assert witnesses.reached(margin, SMALL) is margin


def test_an_only_exemplar_leaves_it_to_the_picture_and_several_without_a_drawing_as_far_as_they_agree() -> None:
    net = network()
    likely, doubted = cone(28).sigmoid(), cone(28).roll(24, 1).sigmoid()

    def of(*shown: Shown) -> Readiness:
        shots = net.encode(torch.rand(len(shown), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)))
        drawn = [one.map if one.is_drawn else None for one in shown]
        return readiness(net, None, shots, own_maps(net, shots, list(shown)), drawn, lambda _: None)

    agreed, elsewhere = Shown(likely, by_name=likely), Shown(likely, by_name=doubted)
    drawn, taught = Shown(likely, is_drawn=True), Shown(likely, by_name=likely, is_taught=True)
    for shown in ([agreed], [elsewhere], [agreed, agreed], [drawn]):
        assert of(*shown).asks_picture == 1
    assert of(drawn).drawn_share == pytest.approx(float(likely.mean()))
    assert of(agreed).drawn_share is None
    assert 0 < of(agreed, agreed, agreed, elsewhere).asks_picture < 1
    for shown in ([elsewhere, elsewhere], [drawn, agreed], [drawn, drawn], [taught], [taught, taught]):
        assert of(*shown).asks_picture == 0
