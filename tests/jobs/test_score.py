"""Answers against known masks: the figures, every layout of truth, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.commands import score as scoring
from jobs.output import catalogue as catalogues
from jobs.output import exports, report, runs
from tests.jobs import exported
from tlg.answers import records
from tlg.answers.records import ImageAnswers
from tlg.answers.scoring import ClassScore, at, suggested
from tlg.cli import app
from tlg.errors import SpecError

COUNT = 8


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return exported.write_output(tmp_path, COUNT)


def masks_by_class(folder: Path, numbers=range(COUNT)) -> Path:
    """`<class>/<image>.png`, the very masks that were answered."""
    for number in numbers:
        for name, mask in exported.masks(number).items():
            path = exported.image_path(folder / name, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return folder


def coco_file(out: Path, folder: Path) -> Path:
    exports.export(str(out), "coco", str(folder), masks="polygon")
    return folder / "coco" / "instances.json"


def label_maps(out: Path, folder: Path) -> Path:
    exports.export(str(out), "label_maps", str(folder))
    return folder / "label_maps"


@pytest.mark.parametrize("layout", ["masks", "coco"])
def test_answers_that_are_the_truth_are_perfect(out: Path, tmp_path: Path, layout: str) -> None:
    place = masks_by_class(tmp_path / "truth") if layout == "masks" else coco_file(out, tmp_path / "e")
    figures, lines = scoring.score(str(out), str(place), 0.9)
    assert figures["compared_images"] == figures["answered_images"] == COUNT
    for name in (*figures["classes"], "all"):
        found = figures["all"] if name == "all" else figures["classes"][name]
        assert (found["iou"], found["precision"], found["recall"]) == (1, 1, 1)
        assert found["suggested_min_score"] is not None
    assert lines[0].startswith("8 of 8 answered images have truth")
    assert {line.split("  ")[0] for line in lines[2:5]} == {"brown hare", "fox", "all"}


def test_label_maps_are_truth_and_what_they_leave_out_does_not_count(out: Path, tmp_path: Path) -> None:
    """Exclusive maps give the fox what both claim: the hare's answer is larger than its truth."""
    place = label_maps(out, tmp_path)
    figures, _ = scoring.score(str(out), str(place), 0.9)
    assert figures["classes"]["fox"]["iou"] == 1
    assert 0.5 < figures["classes"]["brown hare"]["iou"] < 1
    for path in place.rglob("*.png"):
        labels = np.asarray(Image.open(path)).copy()
        labels[labels == 1] = 255
        Image.fromarray(labels).save(path)
    figures, _ = scoring.score(str(out), str(place), 0.9)
    assert figures["classes"]["brown hare"]["iou"] == 1


def test_pixels_are_pooled_over_pictures() -> None:
    truth = np.zeros((10, 10), bool)
    truth[:4] = True
    small, large = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    small[:2] = True
    one = ClassScore("fox")
    one.add(small, truth, 0.6, 0.8)
    one.add(large, truth, 0.9, 0.9)
    one.add(None, truth, 0.3, 0.3)
    one.add(small, np.zeros((10, 10), bool), 0.7, 0.7)
    assert one.iou == (20 + 40) / (40 + 100 + 40 + 20)
    assert one.presence == [[0, 1], [1, 2]]
    assert one.right == [True, False, False]
    assert (at([one], 0.0).precision, at([one], 0.0).recall) == (1 / 3, 1 / 3)
    assert (at([one], 0.95).precision, at([one], 0.95).recall) == (None, 0)


def test_the_suggested_min_score_is_the_lowest_that_keeps_the_wish() -> None:
    one = ClassScore("fox", scores=[0.9, 0.8, 0.8, 0.7, 0.6, 0.5], right=[True, True, False, True, True, False])
    assert suggested([one], 0.8) == 0.6
    assert suggested([one], 0.9) == 0.9
    assert suggested([one], 0.6) == 0.5
    worst = ClassScore("hare", scores=[0.9], right=[False])
    assert suggested([worst], 0.1) is None
    for wished in (0.5, 0.67, 0.8, 1.0):
        found = suggested([one], wished)
        assert found is not None
        precision = at([one], found).precision
        assert precision is not None
        assert precision >= wished


def test_what_cannot_be_compared_is_said_and_costs_nothing_else(out: Path, tmp_path: Path) -> None:
    place = masks_by_class(tmp_path / "truth", range(1, 6))
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(exported.image_path(place / "fox", 2))
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(exported.image_path(place / "brown hare", 2))
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(exported.image_path(place / "fox", 3))
    exported.image_path(place / "fox", 4).write_bytes(b"no picture")
    (place / "brown hares" / "night 1").mkdir(parents=True)
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(exported.image_path(place / "brown hares", 77))
    figures, lines = scoring.score(str(out), str(place), 0.9)
    text = "\n".join(lines)
    assert figures["compared_images"] == 2
    assert "3 pictures left out: " in text
    assert "002.png: the truth is 20x20 pixels, the picture 80x60" in text
    assert "003.png: its masks have different sizes" in text
    assert "1 pictures of the truth are not answered: night 1/077.png" in text
    assert "class 'brown hares' of the truth was not asked; did you mean 'brown hare'?" in text


def test_a_coco_file_of_other_pictures_is_refused_with_names_of_both(out: Path, tmp_path: Path) -> None:
    file = coco_file(out, tmp_path / "e")
    document = json.loads(file.read_text())
    for image in document["images"]:
        image["file_name"] = f"elsewhere/{image['id']}.jpg"
    file.write_text(json.dumps(document))
    with pytest.raises(SpecError, match=r"none of the 8 pictures of the truth.*elsewhere/.*the output night"):
        scoring.score(str(out), str(file), 0.9)


def test_truth_of_other_classes_is_refused_with_names_of_both(out: Path, tmp_path: Path) -> None:
    place = masks_by_class(tmp_path / "truth")
    (place / "fox").rename(place / "wolf")
    (place / "brown hare").rename(place / "deer")
    with pytest.raises(SpecError, match="it knows deer, wolf, the output brown hare, fox"):
        scoring.score(str(out), str(place), 0.9)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "not COCO instances"), ('{"images": 1}', "not COCO instances"), ("{", "not COCO instances")],
)
def test_a_file_that_is_no_coco_says_what_was_expected(out: Path, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "truth.json"
    file.write_text(content)
    with pytest.raises(SpecError, match=message):
        scoring.score(str(out), str(file), 0.9)


def test_pictures_are_found_by_their_name_where_only_one_has_it(out: Path, tmp_path: Path) -> None:
    flat = tmp_path / "truth" / "fox"
    flat.mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(exported.masks(number)["fox"].astype(np.uint8) * 255).save(flat / f"{number:03d}.png")
    figures, lines = scoring.score(str(out), str(flat.parent), 0.9)
    assert figures["compared_images"] == 2
    assert "the truth says nothing of brown hare" in lines


def test_a_crowd_does_not_count(out: Path, tmp_path: Path) -> None:
    file = coco_file(out, tmp_path / "e")
    document = json.loads(file.read_text())
    for annotation in document["annotations"]:
        mask = np.ones((exported.HEIGHT, exported.WIDTH), bool)
        annotation |= {"iscrowd": 1, "segmentation": records.encode_mask(mask)}
    file.write_text(json.dumps(document))
    figures, _ = scoring.score(str(out), str(file), 0.9)
    assert figures["all"]["truths"] == 0
    assert figures["all"]["iou"] is None


def test_the_report_shows_the_score_and_says_when_answers_have_changed(out: Path, tmp_path: Path) -> None:
    catalogue = catalogues.load(str(out))
    summary = runs.RunSummary("r1", "foxes", str(out), str(tmp_path / "images"))
    report.update(catalogue, summary, 0.5, None)
    page = out / "report" / "index.html"
    assert "How good it is" not in page.read_text()
    _, lines = scoring.score(str(out), str(masks_by_class(tmp_path / "truth")), 0.9)
    assert lines[-1] == f"shown in {out}/report/index.html"
    assert "How good it is, on 8 pictures with truth" in page.read_text()
    assert page.read_text().count("<polyline") == 6
    assert report.update(catalogue, summary, 0.5, None) == []
    exported.commit(out, [ImageAnswers("/new.png", "1", exported.answers(1))], "r2")
    report.update(catalogues.load(str(out)), summary, 0.5, None)
    assert "Answers have changed since: score again." in page.read_text()


def test_the_command_prints_a_table_or_json(out: Path, tmp_path: Path) -> None:
    place = masks_by_class(tmp_path / "truth")
    command = ["score", str(out), "--truth", str(place), "--precision", "0.8"]
    assert "min_score for 0.8" in CliRunner().invoke(app, command, catch_exceptions=False).output
    figures = json.loads(CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False).output)
    assert figures["wished_precision"] == 0.8
    with pytest.raises(SpecError, match="--precision 90: a share of masks that are right"):
        scoring.score(str(out), str(place), 90)


def test_a_coco_entry_that_says_too_little_costs_its_own_picture_alone(out: Path, tmp_path: Path) -> None:
    file = coco_file(out, tmp_path / "e")
    document = json.loads(file.read_text())
    del document["images"][0]["height"]
    marked = [one for one in document["annotations"] if one["image_id"] != document["images"][0]["id"]]
    marked[0]["segmentation"] = [[1, 2]]
    file.write_text(json.dumps(document))
    figures, lines = scoring.score(str(out), str(file), 0.9)
    assert figures["compared_images"] == COUNT - 2
    assert any("has no number as height, found None" in line for line in lines)
    assert any("cannot be drawn" in line for line in lines)
