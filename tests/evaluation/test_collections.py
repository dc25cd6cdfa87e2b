"""One model on several collections: one table, made again only where something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from tlg.evaluation import collections
from tlg.hub.folder import save_model
from tlg.network.backbones.registry import build_backbone
from tlg.network.tlg import TLG, NetworkSpec


@pytest.fixture
def config(index_maps: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    backbone = build_backbone("tiny")
    spec = NetworkSpec(backbone="tiny", behaviour="reading", width=16, support_grid=4)
    save_model(tmp_path / "model", "squares", backbone, TLG(spec, backbone), input_size=(64, 64))
    evaluation = {
        "benchmark": {"kind": "index_maps", "root": str(index_maps), "episodes": str(index_maps / "episodes.json")},
        "model": "named by the collection",
        "device": "cpu",
    }
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(evaluation))
    judged = {
        "evaluate": str(tmp_path / "evaluate.yaml"),
        "out": str(tmp_path / "out"),
        "collections": {"squares": {"root": str(index_maps), "model": str(tmp_path / "model")}},
        "methods": [
            {"title": "everything", "method": "all_foreground"},
            {"title": "true masks", "method": "tlg_true_masks", "reading": True},
        ],
        "shots": [1, 2],
    }
    (tmp_path / "judged.yaml").write_text(yaml.safe_dump(judged))
    return tmp_path / "judged.yaml"


def test_every_method_has_its_figure_and_reading_stands_in_brackets(config: Path, tmp_path: Path) -> None:
    text = collections.judge(str(config))
    report = json.loads((tmp_path / "out/squares-tlg_true_masks.json").read_text())["shots"]
    one, two = report["1"], report["2"]
    expected = (
        f"{one['mean_mIoU']:.1f} / {two['mean_mIoU']:.1f} ({one['mean_reading']:.1f} / {two['mean_reading']:.1f})"
    )
    (row,) = [line for line in text.splitlines() if line.startswith("| squares |")]
    assert expected in row
    assert "| squares: cow |" in text
    assert (tmp_path / "out/table.md").read_text() == text


def test_what_is_judged_stays_and_what_is_not_asked_is_not_measured(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not measured" in collections.judge(str(config), only=["another"])
    row = collections.judge(str(config), only=["squares/all_foreground"]).splitlines()[2]
    assert row.count("not measured") == 1
    text = collections.judge(str(config))

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("it is there already")

    monkeypatch.setattr(collections, "evaluate", refused)
    assert collections.judge(str(config)) == text
