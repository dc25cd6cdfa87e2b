"""What exemplars show of a thing's size moves how readily it is found, in a network that reads."""

from __future__ import annotations

import pytest
import torch

from tlg.network.reading.extent import EVEN_SHARE, extent


def masks(share: float) -> torch.Tensor:
    plane = torch.zeros(2, 100, 100)
    plane[:, : round(100 * share)] = 1
    return plane


def test_a_thing_that_fills_its_pictures_is_taken_more_readily_than_a_small_one() -> None:
    values = [float(extent(masks(share))) for share in (0.0, 0.02, EVEN_SHARE, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[2] == pytest.approx(0.0, abs=1e-5)
    assert all(abs(value) < 5 for value in values)
