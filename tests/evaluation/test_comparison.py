import json
from pathlib import Path

import pytest

from tlg.documents import parse, read_text
from tlg.evaluation.comparison import Comparison, classes_table, compare, figure, means_table
from tlg.training.trainer import load_spec

CONFIGS = Path(__file__).parents[2] / "configs"


def comparison(out: Path) -> Comparison:
    content = read_text((CONFIGS / "accuracy" / "rows.yaml").read_text(), "rows.yaml")
    return parse(Comparison, {**content, "out": str(out)}, "rows.yaml")


def shots(mean: float, *folds: float) -> dict:
    by_fold = {str(fold): {"mIoU": miou, "classes": {f"thing {fold}": miou}} for fold, miou in enumerate(folds)}
    return {"mean_mIoU": mean, "folds": by_fold}


def test_rows_that_were_not_run_say_so_and_seeds_give_a_spread(tmp_path: Path):
    for seed, value in enumerate((60.0, 62.0, 64.0)):
        report = {"shots": {"1": shots(value, value - 1, value + 1), "5": shots(value + 5, value, value + 10)}}
        (tmp_path / f"tlg-image-level-seed{seed}.json").write_text(json.dumps(report))
    lines = means_table(comparison(tmp_path)).splitlines()
    assert lines[2] == "| TLG image-level | image labels | 3 | 62.0 ± 2.0 | 61.0, 63.0 | 67.0 ± 2.0 | 62.0, 72.0 |"
    assert all(line.endswith("| 0 | not measured |  | not measured |  |") for line in lines[3:])
    assert figure([61.26]) == "61.3"
    assert classes_table(comparison(tmp_path)).splitlines() == [
        "| class, 1-shot / 5-shot | TLG image-level |",
        "|---|---|",
        "| thing 0 | 61 / 62 |",
        "| thing 1 | 63 / 72 |",
    ]


def test_rows_use_models_that_some_row_trains(tmp_path: Path):
    rows = comparison(tmp_path).rows
    trained = {row.name for row in rows if row.train is not None}
    assert all(row.model_of in trained for row in rows if row.model_of is not None)


def test_rows_that_are_done_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = {
        "train": "t.yaml",
        "evaluate": "e.yaml",
        "out": str(tmp_path),
        "rows": [{"name": "a", "needs": "nothing"}],
    }
    (tmp_path / "rows.yaml").write_text(json.dumps(content))
    asked = []
    monkeypatch.setattr("tlg.evaluation.comparison.evaluate", lambda *_, **named: asked.append(named["overrides"]))
    compare(str(tmp_path / "rows.yaml"), workers=1)
    (tmp_path / "a-seed0.json").write_text(json.dumps({"shots": {s: shots(1, 1) for s in "15"}}))
    compare(str(tmp_path / "rows.yaml"), workers=1)
    assert len(asked) == 1


@pytest.mark.parametrize("file", sorted((CONFIGS / "train").glob("*.yaml")), ids=lambda file: file.stem)
def test_published_configs_are_the_published_recipe(file: Path):
    spec = load_spec(file)
    recipe = (spec.optim.lr, spec.optim.weight_decay, spec.optim.batch_size, spec.optim.epochs, spec.input_size)
    assert recipe == (4e-4, 1e-4, 16, 80, 400)
    assert (spec.loss.query, spec.loss.support, spec.loss.norms, spec.data.augment) == (1.4, 0.6, 1e-4, False)
    assert spec.network.backbone in file.stem
