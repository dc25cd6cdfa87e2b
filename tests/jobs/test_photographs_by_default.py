"""A user's own photographs, with no model named: the job's answers are as good as the evaluation says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import tlg
from tlg.answers.metrics import IoUTally
from tlg.evaluation.evaluate import evaluate
from tlg.spec import DEFAULT_MODEL

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "msrc_v2"
CLASSES = {"cow": 4, "cat": 20}
QUERIES = 10
VOID = 0

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason="needs ../shared (photographs with known masks)"),
]


@pytest.fixture(scope="module")
def episodes() -> list[dict]:
    """For each class queries with one and the same five exemplars, as one exemplar set has."""
    listed = json.loads((PHOTOGRAPHS / "episodes.json").read_text())["folds"]["0"]["5_shot"]
    found = []
    for class_id in CLASSES.values():
        of_class = [episode for episode in listed if episode["class"] == class_id]
        support = of_class[0]["support"]
        queries = sorted({episode["query"] for episode in of_class} - set(support))[:QUERIES]
        found += [{"class": class_id, "query": query, "support": support} for query in queries]
    return found


@pytest.fixture(scope="module")
def answered(episodes: list[dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laid out and asked as the README says."""
    folder = tmp_path_factory.mktemp("user")
    for name, class_id in CLASSES.items():
        (folder / "exemplars" / name).mkdir(parents=True)
        for photograph in next(episode["support"] for episode in episodes if episode["class"] == class_id):
            shutil.copy(image_of(photograph), folder / "exemplars" / name)
    (folder / "images").mkdir()
    for episode in episodes:
        shutil.copy(image_of(episode["query"]), folder / "images")
    command = [sys.executable, "-m", "tlg", "annotate"]
    options = ["--images", "images", "--exemplars", "exemplars", "--out", "answers"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "answers"


def image_of(photograph: str) -> Path:
    return next((PHOTOGRAPHS / "images").glob(f"{photograph}.*"))


def test_the_job_s_own_rows_score_what_the_evaluation_says(
    episodes: list[dict], answered: Path, tmp_path: Path
) -> None:
    rows = {Path(str(image.image)).stem: image for image in tlg.read_answers(str(answered))}
    names = {class_id: name for name, class_id in CLASSES.items()}
    tally = IoUTally()
    for episode in episodes:
        label = np.asarray(Image.open(PHOTOGRAPHS / "labels" / f"{episode['query']}.png"))
        masks = {answer.class_name: answer.mask for answer in rows[episode["query"]].present}
        answer = masks.get(names[episode["class"]], np.zeros(label.shape, bool))
        tally.add(episode["class"], answer, label == episode["class"], label == VOID)
    listed = {"folds": {"0": {"novel_classes": [*names], "5_shot": episodes}}}
    (tmp_path / "episodes.json").write_text(json.dumps(listed))
    benchmark = {"kind": "index_maps", "root": str(PHOTOGRAPHS), "episodes": str(tmp_path / "episodes.json")}
    (tmp_path / "evaluate.yaml").write_text(
        yaml.safe_dump({"benchmark": benchmark, "model": DEFAULT_MODEL, "shots": [5], "device": "cpu"})
    )
    evaluated = evaluate(tmp_path / "evaluate.yaml")["shots"]["5"]["mean_mIoU"]
    assert 100 * tally.mean_iou([*names]) == pytest.approx(evaluated, abs=1)
    assert evaluated > 60
