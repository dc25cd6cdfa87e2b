"""The pictures of good and bad answers."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tlg.answers.formats.overlay import MAP_COLOUR, MAP_FILL
from tlg.datasets.episodes import open_image
from tlg.datasets.sources import IndexMapSource
from tlg.evaluation.sheets import CAPTION, CELL, drawn, outline, sheet, write_sheets


@pytest.fixture
def config(index_maps: Path, tmp_path: Path) -> Path:
    source = {"kind": "index_maps", "root": str(index_maps), "episodes": str(index_maps / "episodes.json")}
    file = tmp_path / "evaluate.yaml"
    file.write_text(yaml.safe_dump({"benchmark": source, "shots": [1]}))
    return file


def test_the_best_answer_is_on_the_left(index_maps: Path):
    source = IndexMapSource(kind="index_maps", root=index_maps, episodes=index_maps / "episodes.json")
    asked = source.evaluation("0", 1, None, 0)
    right, answers, first = [], [], set()
    for episode in asked.episodes:
        truth = asked.collection.label_map(episode.query) == episode.class_id
        # Of every class the first answer is right and the others are empty.
        right.append(episode.class_id not in first)
        answers.append(truth if right[-1] else truth & False)
        first.add(episode.class_id)
    whole = sheet(asked, answers)
    assert whole.size == (3 * CELL, len(asked.novel_classes) * (CELL + CAPTION))
    best = right.index(True)
    best_drawn = drawn(asked.episodes[best], answers[best], answers[best])
    row = asked.novel_classes.index(asked.episodes[best].class_id) * (CELL + CAPTION)
    shown = whole.crop((0, row + CELL - best_drawn.height, best_drawn.width, row + CELL))
    assert np.array_equal(np.asarray(shown), np.asarray(best_drawn))


def test_there_is_a_picture_for_every_fold_and_number_of_shots(config: Path, index_maps: Path, tmp_path: Path):
    for fold in "01":
        for index in range(6):
            Image.fromarray(np.zeros((48, 64), np.uint8)).save(tmp_path / f"{fold}_1shot_{index:03d}.png")
    sheets = write_sheets(str(config), tmp_path, tmp_path / "sheets")
    assert [path.name for path in sheets] == ["0_1shot.jpg", "1_1shot.jpg"]
    assert all(Image.open(path).size[0] == 3 * CELL for path in sheets)


def test_an_answer_is_coloured_and_the_rest_is_not(index_maps: Path):
    source = IndexMapSource(kind="index_maps", root=index_maps, episodes=index_maps / "episodes.json")
    episode = source.evaluation("0", 1, None, 0).episodes[0]
    pixels = open_image(episode.query.image)
    answer = np.zeros(pixels.shape[:2], bool)
    answer[:10] = True
    picture = np.asarray(drawn(episode, answer, answer & False)).astype(int)
    assert np.array_equal(picture[10:], pixels[10:])
    expected = pixels[:10] * (1 - MAP_FILL) + np.array(MAP_COLOUR) * MAP_FILL
    assert np.abs(picture[:10] - expected).max() <= 1


def test_an_outline_is_thin_and_on_the_rim():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    rim = outline(mask)
    assert rim[5, 5:15].all()
    assert not rim[7:13, 7:13].any()
    assert not rim[:3].any()
