"""Two witnesses of one class: what they say together."""

from __future__ import annotations

import torch

from tlg.evidence.fusion import agreed, fuse

STEPS = torch.linspace(0.02, 0.98, 25)
EXEMPLAR, TEXT = torch.meshgrid(STEPS, STEPS, indexing="ij")


def test_witnesses_who_agree_are_surer_together_than_either_alone() -> None:
    both_see = (EXEMPLAR > 0.5) & (TEXT > 0.5)
    assert bool((agreed(EXEMPLAR, TEXT) >= torch.maximum(EXEMPLAR, TEXT) - 1e-6)[both_see].all())
    neither_sees = (EXEMPLAR < 0.5) & (TEXT < 0.5)
    assert bool((agreed(EXEMPLAR, TEXT) <= torch.minimum(EXEMPLAR, TEXT) + 1e-6)[neither_sees].all())


def test_a_witness_who_does_not_know_changes_nothing() -> None:
    torch.testing.assert_close(agreed(STEPS, torch.full_like(STEPS, 0.5)), STEPS)


def test_which_classes_are_there_is_what_the_average_says() -> None:
    doubtful = (EXEMPLAR + TEXT - 1).abs() < 1e-4
    assert torch.equal((agreed(EXEMPLAR, TEXT) > 0.5)[~doubtful], (fuse(EXEMPLAR, TEXT) > 0.5)[~doubtful])
