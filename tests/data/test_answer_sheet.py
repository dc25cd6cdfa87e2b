"""The pictures of good and bad answers."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tlg.answer_sheet import CAPTION, CELL, outline, write_sheets
from tlg.data.sources import IndexMapSource


@pytest.fixture
def config(index_maps: Path, tmp_path: Path) -> Path:
    source = {"kind": "index_maps", "root": str(index_maps), "episodes": str(index_maps / "episodes.json")}
    file = tmp_path / "evaluate.yaml"
    file.write_text(yaml.safe_dump({"benchmark": source, "shots": [1]}))
    return file


def test_the_worst_answer_is_on_the_right(config: Path, index_maps: Path, tmp_path: Path):
    source = IndexMapSource(kind="index_maps", root=index_maps, episodes=index_maps / "episodes.json")
    for fold in source.folds():
        asked = source.evaluation(fold, 1, None, 0)
        first = {class_id: True for class_id in asked.novel_classes}
        for index, episode in enumerate(asked.episodes):
            truth = asked.collection.label_map(episode.query) == episode.class_id
            # Of every class the first answer is right and the others are empty.
            answer = truth if first.pop(episode.class_id, False) else truth & False
            Image.fromarray(answer.astype(np.uint8) * 255).save(tmp_path / f"{fold}_1shot_{index:03d}.png")
    sheets = write_sheets(str(config), tmp_path, tmp_path / "sheets")
    assert [path.name for path in sheets] == ["0_1shot.jpg", "1_1shot.jpg"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.size == (3 * CELL, len(asked.novel_classes) * (CELL + CAPTION))
        colours = np.asarray(sheet.convert("RGB")).astype(int)
    # Only a coloured answer is so much redder than green.
    redness = [(colours[:, c * CELL : (c + 1) * CELL, 0] - colours[:, c * CELL : (c + 1) * CELL, 1]) for c in range(3)]
    assert (redness[0] > 60).sum() > (redness[2] > 60).sum()


def test_an_outline_is_thin_and_on_the_rim():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    rim = outline(mask)
    assert rim[5, 5:15].all()
    assert not rim[7:13, 7:13].any()
    assert not rim[:3].any()
