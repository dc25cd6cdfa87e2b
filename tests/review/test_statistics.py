"""The sample's chances and the intervals, on collections whose truth is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tlg.review.figures import Judged, estimate
from tlg.review.population import STEPS, Population, binned, edges, places
from tlg.review.posterior import MASKS, predicted
from tlg.review.sampling import Design, Draw

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import review

    yield review
    sys.modules.pop("review", None)


def population(masks: dict[str, np.ndarray], absent: int = 0) -> Population:
    counted = Population.empty(tuple(masks))
    for place, steps in enumerate(masks.values()):
        np.add.at(counted.masks[place], steps, 1)
        counted.absent_alone[place, 100] = absent
    counted.pictures = sum(map(len, masks.values())) + absent
    return counted


def drawn_from(counted: Population, stratum_n: np.ndarray, step_n: np.ndarray, pictures: int, design: Design):
    draw = Draw(design, pictures)
    draw.add(np.random.default_rng(0).permutation(len(stratum_n)).astype(np.uint64), stratum_n, step_n)
    return draw.drawn()


def test_every_picture_has_a_known_chance_and_chances_add_up() -> None:
    rng = np.random.default_rng(1)
    steps = rng.integers(500, STEPS, 3000)
    counted = population({"fox": steps[:2500], "hare": steps[2500:]}, absent=5000)
    design = Design.of(counted, 60)
    classes = np.repeat([0, 1], [2500, 500])
    stratum = np.r_[design.of_masked(classes, steps), design.of_unmasked(np.full(5000, 100))]
    sample = drawn_from(counted, stratum, np.r_[steps, np.full(5000, 100)], 60, design)
    assert len(sample.numbers) == len(set(sample.numbers.tolist())) == 60
    sizes = np.bincount(stratum, minlength=design.strata)
    for number in np.unique(sample.stratum):
        chosen = sample.stratum == number
        assert sample.probability[chosen] == pytest.approx(chosen.sum() / sizes[number])
    # Every picture that could be drawn is stood for.
    assert (1 / sample.probability).sum() == pytest.approx(sizes.sum())
    fox, hare = (np.isin(sample.stratum // design.bands, [place]).sum() for place in (0, 1))
    assert abs(fox - hare) <= 4, "a rare class is asked as often as a frequent one"


def test_a_larger_sample_holds_the_smaller_and_all_are_drawn_of_few() -> None:
    rng = np.random.default_rng(2)
    steps = rng.integers(500, STEPS, 400)
    counted = population({"fox": steps})
    design = Design.of(counted, 40)
    stratum = design.of_masked(np.zeros(400, int), steps)
    small, large = (set(drawn_from(counted, stratum, steps, n, design).numbers.tolist()) for n in (40, 80))
    assert small <= large
    assert len(drawn_from(counted, stratum, steps, 1000, design).numbers) == 400


def test_doubtful_masks_are_drawn_more_often_than_sure_ones() -> None:
    steps = np.linspace(500, STEPS, 4000).astype(int)
    counted = population({"fox": steps})
    design = Design.of(counted, 60)
    sample = drawn_from(counted, design.of_masked(np.zeros(4000, int), steps), steps, 60, design)
    chance = dict(zip(sample.stratum.tolist(), sample.probability.tolist(), strict=True))
    assert chance[0] > chance[3] > 0


def test_many_classes_share_strata_until_each_gets_two() -> None:
    counted = population({f"class {place}": np.array([600, 900]) for place in range(200)})
    design = Design.of(counted, 60)
    assert not design.by_class
    assert design.strata <= 60 // 2
    assert Design.of(counted, 800).by_class


def test_all_judged_is_known_for_certain() -> None:
    counted = population({"fox": np.array([600, 700, 800, 900])}, absent=1)
    judged = [Judged("fox", True, True, step / STEPS, 0.9, step > 600, True) for step in (600, 700, 800, 900)]
    judged.append(Judged("fox", False, False, 0.1, 0.1, False, True))
    every, (fox,) = estimate(counted, judged)
    assert every is not None
    assert fox.precision == (0.75, 0.75, 0.75)
    assert fox.missed == (0.2, 0.2, 0.2)
    at = {one.min_score: one for one in fox.thresholds}
    assert at[0.65].precision == (1, 1, 1)
    assert at[0.65].missed == (0.4, 0.4, 0.4)


def test_nothing_judged_tells_nothing() -> None:
    assert estimate(population({"fox": np.array([600])}), []) == (None, [])


def test_the_same_verdicts_give_the_same_figures() -> None:
    counted = population({"fox": np.linspace(500, STEPS, 500).astype(int)}, absent=50)
    judged = [Judged("fox", True, True, score, score, score > 0.7, True) for score in np.linspace(0.5, 1, 30)]
    assert estimate(counted, judged) == estimate(counted, judged)


def test_more_verdicts_make_narrower_intervals() -> None:
    counted = population({"fox": np.linspace(500, STEPS, 5000).astype(int)})
    widths = []
    for count in (10, 40, 160):
        judged = [Judged("fox", True, True, s, s, i % 5 > 0, True) for i, s in enumerate(np.linspace(0.5, 1, count))]
        _, (fox,) = estimate(counted, judged)
        assert fox.precision is not None
        widths.append(fox.precision.high - fox.precision.low)
    assert widths[0] > widths[1] > widths[2]


def test_the_posterior_agrees_with_bayes_where_there_is_one_cell() -> None:
    """With a belief that is nearly flat, 8 right of 10 is about a beta distribution's mean."""
    members, judged, right = np.full((1, 1), 10**6), np.full((1, 1), 50.0), np.full((1, 1), 40.0)
    draws = np.concatenate(list(predicted(members, judged, right, np.array([0.5]), MASKS, np.random.default_rng(3))))
    share = draws[:, 0, 0] / 10**6
    assert share.mean() == pytest.approx(0.79, abs=0.02)
    assert share.std() == pytest.approx(0.056, abs=0.012)


def test_bins_begin_at_every_threshold() -> None:
    counts = population({"fox": np.full(1000, 987)}).masks
    edge = edges(counts)
    assert set(range(0, STEPS, STEPS // 20)) <= set(edge.tolist())
    assert binned(counts, edge).sum() == 1000
    assert (np.diff(places(binned(counts, edge))) >= 0).all()


def test_intervals_hold_and_are_half_as_wide_as_from_random_pictures(benchmark) -> None:
    """A few of the benchmark's reviews; `make bench ONLY=review` measures 300 of every kind."""
    tally = benchmark.Tally([], [], [], [])
    kind = benchmark.KINDS[1]
    for number in range(8):
        benchmark.review(kind, np.random.default_rng([number, 99]), tally)
    assert np.mean(tally.holds) >= 0.85
    assert np.mean(tally.widths) <= 0.5 * np.mean(tally.random_widths)
