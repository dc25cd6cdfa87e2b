import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from tlg.answers.metrics import IoUTally

SHARED = Path(__file__).parents[2] / ".." / "shared"


def test_pixels_are_summed_per_class_before_dividing():
    tally = IoUTally()
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    nothing = np.zeros((4, 4), bool)
    tally.add(1, truth, truth, nothing)
    tally.add(1, np.ones((4, 4), bool), truth, nothing)
    assert tally.class_iou(1) == (8 + 8) / (8 + 16)
    assert tally.mean_iou([1, 2]) == pytest.approx(tally.class_iou(1) / 2)


def test_ignored_pixels_do_not_count():
    truth, ignored = np.eye(4, dtype=bool), np.zeros((4, 4), bool)
    ignored[:, :2] = True
    tally, cropped = IoUTally(), IoUTally()
    answer = np.tri(4, dtype=bool)
    tally.add(3, answer, truth, ignored)
    cropped.add(3, answer[:, 2:], truth[:, 2:], ignored[:, 2:])
    assert tally == _same(cropped, tally)


def _same(one: IoUTally, other: IoUTally) -> IoUTally:
    assert one.fb_inter.tolist() == other.fb_inter.tolist()
    assert one.fb_union.tolist() == other.fb_union.tolist()
    assert (one.class_inter, one.class_union) == (other.class_inter, other.class_union)
    return other


def test_merging_counts_what_one_tally_would():
    rng = np.random.default_rng(0)
    whole, parts = IoUTally(), [IoUTally(), IoUTally()]
    for index in range(6):
        answer, truth, ignored = (rng.random((3, 5, 7)) > [[[0.5]], [[0.6]], [[0.9]]]).astype(bool)
        whole.add(index % 3, answer, truth, ignored)
        parts[index % 2].add(index % 3, answer, truth, ignored)
    parts[0].merge(parts[1])
    _same(parts[0], whole)
    assert parts[0].episodes == 6


def test_sizes_have_to_agree():
    with pytest.raises(ValueError, match="differ in size"):
        IoUTally().add(1, np.zeros((2, 2), bool), np.zeros((2, 3), bool), np.zeros((2, 2), bool))


@pytest.mark.skipif(not (SHARED / "bench" / "score.py").exists(), reason="needs ../shared (scorer and photographs)")
def test_our_figures_equal_the_independent_scorers(tmp_path: Path):
    """Both score the same arbitrary answers to every episode of the photographs."""
    from tlg.datasets.sources import IndexMapSource
    from tlg.evaluation.answerers import AllForeground
    from tlg.evaluation.evaluate import score_episodes, summary

    class Wedges(AllForeground):
        """Answers that are neither right nor constant."""

        def answer(self, episodes, names):
            masks = super().answer(episodes, names)
            return [
                np.tri(*mask.shape, k=13 * len(e.query.id), dtype=bool) for mask, e in zip(masks, episodes, strict=True)
            ]

    data = few_episodes_of(SHARED / "data" / "msrc_v2", tmp_path / "data")
    source = IndexMapSource(kind="index_maps", root=data, episodes=data / "episodes.json")
    ours: dict[str, list[dict]] = {}
    for shots in (1, 5):
        for fold in source.folds():
            episodes = source.evaluation(fold, shots, None, 0)
            tally = score_episodes(episodes, Wedges(), tmp_path / "dump", f"{fold}_{shots}shot")
            ours.setdefault(f"{shots}_shot", []).append(summary(tally, episodes))
    theirs = runpy.run_path(str(SHARED / "bench" / "score.py"))["score"](tmp_path / "dump", data / "episodes.json")
    for shots, folds in ours.items():
        assert [fold["mIoU"] for fold in folds] == pytest.approx(theirs[shots]["mIoU"], abs=0.051)
        assert np.mean([fold["FB_IoU"] for fold in folds]) == pytest.approx(theirs[shots]["FB-IoU"], abs=0.051)


def few_episodes_of(data: Path, folder: Path) -> Path:
    """The same collection with every fold's first ten episodes of either kind."""
    folder.mkdir()
    for name in ("images", "labels", "classes.json"):
        (folder / name).symlink_to((data / name).resolve())
    content = json.loads((data / "episodes.json").read_text())
    for fold in content["folds"].values():
        for kind in ("1_shot", "5_shot"):
            fold[kind] = fold[kind][:10]
    (folder / "episodes.json").write_text(json.dumps(content))
    return folder
