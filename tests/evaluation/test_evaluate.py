"""Laws of evaluation, with a small random model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tlg.datasets.sources import PascalSource
from tlg.errors import SpecError
from tlg.evaluation import evaluate as module
from tlg.evaluation.evaluate import build_answerer, evaluate, score_episodes
from tlg.hub.folder import save_model
from tlg.network.backbones.registry import build_backbone
from tlg.network.tlg import TLG, NetworkSpec


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = build_backbone("tiny")
    folder = tmp_path_factory.mktemp("model")
    net = TLG(NetworkSpec(backbone="tiny", width=16, text=False), backbone)
    save_model(folder, "squares", backbone, net, input_size=(64, 64))
    return folder


@pytest.fixture
def config(index_maps: Path, model: Path, tmp_path: Path) -> Path:
    content = {
        "benchmark": {"kind": "index_maps", "root": str(index_maps), "episodes": str(index_maps / "episodes.json")},
        "model": str(model),
        "shots": [1, 2],
        "out": str(tmp_path / "report.json"),
        "device": "cpu",
    }
    file = tmp_path / "evaluate.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(
    "method", ["tlg", "prior", "all_foreground", "prototypes", "tlg_true_masks", "tlg_boxes", "tlg_points"]
)
def test_every_method_answers_every_episode(config: Path, tmp_path: Path, method: str):
    report = evaluate(config, dump=tmp_path / "dump", overrides=[f"method={method}"])
    names = sorted(path.name for path in (tmp_path / "dump").iterdir())
    assert names == sorted(f"{fold}_{shots}shot_{i:03d}.png" for fold in "01" for shots in (1, 2) for i in range(6))
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["shots"]["2"]["folds"]["1"]["classes"].keys() == {"boat", "sign"}
    with Image.open(tmp_path / "dump" / names[0]) as answer:
        assert answer.size == (64, 48)
        assert set(np.unique(np.asarray(answer))) <= {0, 255}


@pytest.fixture(scope="module")
def reading_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = build_backbone("tiny")
    folder = tmp_path_factory.mktemp("reading")
    net = TLG(NetworkSpec(backbone="tiny", behaviour="reading", width=16, support_grid=4), backbone)
    save_model(folder, "squares", backbone, net, input_size=(64, 64))
    return folder


def test_a_part_can_be_left_out(config: Path, reading_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def watched(spec, fold, episodes):
        seen.append(build_answerer(spec, fold, episodes))
        return seen[-1]

    monkeypatch.setattr(module, "build_answerer", watched)
    dumped = {}
    for part in (None, "own maps", "second look", "glance", "names", "extent", "reach"):
        overrides = [f"model={reading_model}", f"without={part or 'null'}", 'folds=["1"]', "shots=[1]"]
        evaluate(config, dump=tmp_path / str(part), overrides=overrides)
        dumped[part] = [file.read_bytes() for file in sorted((tmp_path / str(part)).iterdir())]
    assert [answerer.net.head.looks for answerer in seen] == [2, 2, 1, 2, 2, 2, 2]
    assert [answerer.net.head.glances for answerer in seen] == [True, True, True, False, True, True, True]
    assert [answerer.without for answerer in seen][4:] == ["names", "extent", "reach"]
    assert dumped["own maps"] != dumped[None] != dumped["second look"]


def test_a_network_that_has_no_such_part_says_so(config: Path):
    with pytest.raises(SpecError, match=r"'repaired'.*choose tlg-photo"):
        evaluate(config, overrides=["without=reach"])


def test_all_foreground_scores_the_share_of_the_class(config: Path, index_maps: Path):
    report = evaluate(config, overrides=["method=all_foreground", "shots=[1]"])
    labels = [np.asarray(Image.open(index_maps / "labels" / f"1_{number}.png")) for number in range(3)]
    share = sum((label == 1).sum() for label in labels) / sum((label != 6).sum() for label in labels)
    assert report["shots"]["1"]["folds"]["0"]["classes"]["cow"] == pytest.approx(100 * share)


@pytest.mark.parametrize("method", ["tlg", "prior", "all_foreground"])
def test_no_label_map_is_opened_before_the_answer_and_a_supports_never(config, index_maps, monkeypatch, method):
    """Every file opened while an answer is made is a photograph; label maps opened later are of queries alone."""
    answering, opened = [False], {True: set(), False: set()}
    original = Image.open

    def spy(file, *rest, **named):
        opened[answering[0]].add(Path(str(file)))
        return original(file, *rest, **named)

    def watched(episodes, answerer, dump, name):
        answer = answerer.answer

        def answer_watched(batch, names):
            answering[0] = True
            masks = answer(batch, names)
            answering[0] = False
            return masks

        answerer.answer = answer_watched
        return score_episodes(episodes, answerer, dump, name)

    monkeypatch.setattr(Image, "open", spy)
    monkeypatch.setattr("tlg.evaluation.evaluate.score_episodes", watched)
    evaluate(config, overrides=[f"method={method}"])
    assert opened[True]
    assert {path.parent.name for path in opened[True]} == {"images"}
    queries = {f"{c}_{n}" for c in (1, 2, 3, 4) for n in range(3)}
    assert {path.stem for path in opened[False] if path.parent.name == "labels"} == queries


def test_an_answer_does_not_depend_on_the_other_episodes_of_its_batch(config: Path, tmp_path: Path, monkeypatch):
    evaluate(config, dump=tmp_path / "together")
    monkeypatch.setattr("tlg.evaluation.evaluate.EPISODES_AT_ONCE", 1)
    evaluate(config, dump=tmp_path / "alone")
    for file in (tmp_path / "together").iterdir():
        together, alone = (
            np.asarray(Image.open(folder / file.name)) for folder in (tmp_path / "together", tmp_path / "alone")
        )
        assert (together != alone).mean() < 0.01  # sums in another order


def test_pascal_ignores_the_rim(voc: Path):
    episodes = PascalSource(kind="pascal", root=voc).evaluation("0", 1, 7, seed=0)
    from tlg.evaluation.answerers import AllForeground

    tally = score_episodes(episodes, AllForeground(), None, "rim")
    assert tally.episodes == 7
    assert tally.fb_union[1] == 7 * 48 * 63
