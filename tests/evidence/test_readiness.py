"""What exemplars say of each other moves how readily their class is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.network.test_reading import network
from tlg.evidence import readiness as module
from tlg.evidence.own_maps import OwnMaps
from tlg.evidence.readiness import BELIEVED, Readiness, readiness, verdict

SIDE = 96


def discs(radius: float) -> torch.Tensor:
    """(2, H, W): log-odds of two discs, 0 at this radius."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    middles = torch.tensor([[40.0, 40.0], [60.0, 50.0]])
    return torch.stack([(radius - torch.hypot(y - a, x - b)) / 10 for a, b in middles])


def taken_whole(inside: torch.Tensor) -> OwnMaps:
    return OwnMaps(inside, 1 - inside, torch.zeros(len(inside)))


def test_what_fits_is_left_as_it_is() -> None:
    assert verdict(discs(20), discs(20), discs(20) > 0) == Readiness()


@pytest.mark.parametrize(("found", "shift"), [(10, 1.0), (30, -1.0)])
def test_a_network_that_finds_too_little_takes_more_and_one_that_finds_too_much_takes_less(
    found: float, shift: float
) -> None:
    assert verdict(discs(found), None, discs(20) > 0) == Readiness(shift=BELIEVED * shift)


def test_where_the_network_does_harm_the_prior_answers() -> None:
    told = verdict(-discs(20), discs(20), discs(20) > 0)
    assert (told.prior_share > 0.5, told.shift) == (True, 0)


def test_where_the_prior_is_hardly_better_the_network_answers() -> None:
    assert verdict(discs(19), discs(20), discs(20) > 0).prior_share == 0


def test_no_more_than_the_stated_number_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    net, tried = network(), []
    monkeypatch.setattr(module, "MOST_TRIED", 3)
    shots = net.encode(torch.rand(5, 3, SIDE, SIDE))
    masks = (discs(20)[:1] > 0).float().expand(5, -1, -1)
    result = readiness(net, None, shots, taken_whole(masks), list(masks), lambda row: tried.append(row))
    assert tried == [0, 1, 2]
    assert result.extent == pytest.approx(float(net.extent(masks)))
    assert result.prior_share == 0


def test_own_maps_say_how_large_a_class_is_as_far_as_they_are_agreed_upon() -> None:
    net = network()
    shots = net.encode(torch.rand(2, 3, SIDE, SIDE))
    maps = taken_whole((discs(20)[:1] > 0).float().expand(2, -1, -1))
    agreed = replace(maps, agreement=torch.tensor([1.0, 0.0]))
    told, half = (readiness(net, None, shots, own, [None, None], lambda row: None) for own in (maps, agreed))
    assert told == Readiness()
    assert half == Readiness(extent=pytest.approx(float(net.extent(maps.inside)) / 2))
