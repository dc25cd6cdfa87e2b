"""Verdicts on an output: kept for good, by several people, tied to the answers; and what is made of them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from jobs.commands import diff as comparing
from jobs.commands import exemplars as adding
from jobs.commands import review as reviewing
from jobs.commands import suggest as suggesting
from jobs.output import catalogue as catalogues
from jobs.output import report, runs
from jobs.output.runs import RunSummary
from jobs.review import figures, scan, verdicts
from jobs.review.session import Session
from tests.jobs import exported
from tlg import exemplars
from tlg.answers import records
from tlg.answers.formats import label_studio
from tlg.answers.records import ImageAnswers
from tlg.cli import app
from tlg.errors import InputError, SpecError, StorageError

COUNT = 16


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return exported.write_output(tmp_path, COUNT)


def said_of(session: Session, image_id: str, verdict: str, who: str = "Ann") -> None:
    """The same verdict on each mask; nothing is missing."""
    rows = session.picture(image_id).rows
    made = [
        (row["class_name"], verdicts.answer_digest(row), verdict if row["status"] == "mask" else "right", None)
        for row in rows
    ]
    session.judge(image_id, who, made)


def masked(session: Session) -> list[str]:
    return [one.image_id for one in session.pictures.values() if one.rows[0]["status"] == "mask"]


def number_of(uri: str) -> int:
    return int(Path(uri).stem)


def test_the_scan_counts_every_answer_whatever_the_tables_are_cut_at(out: Path, monkeypatch) -> None:
    whole = scan.population(catalogues.load(str(out)))
    monkeypatch.setattr("jobs.output.shards.ROWS_AT_ONCE", 3)
    cut = catalogues.load(str(out))
    monkeypatch.setattr(
        catalogues.Catalogue,
        "tables",
        lambda self, columns, chosen=None, real=catalogues.Catalogue.tables: (
            part
            for table in real(self, columns, chosen)
            for part in [table.slice(at, 3) for at in range(0, len(table), 3)]
        ),
    )
    again = scan.population(cut)
    assert whole.pictures == again.pictures == COUNT
    assert (whole.masks == again.masks).all()
    assert (whole.absent_beside == again.absent_beside).all()
    expected = [sum(exported.masks(n)[name].any() for n in range(COUNT)) for name in whole.classes]
    assert whole.masks.sum(1).tolist() == expected
    assert whole.absent_alone.sum() + whole.absent_beside.sum() + whole.masks.sum() == 2 * COUNT


def test_everybody_is_shown_the_same_pictures_and_the_sample_is_kept(out: Path) -> None:
    ann, ben = Session(str(out), 6), Session(str(out), 6)
    assert list(ann.pictures) == list(ben.pictures)
    assert len(ann.pictures) == 6
    (file,) = (out / "review").glob("sample-*.parquet")
    kept = pq.read_table(file).to_pylist()
    assert [row["image_id"] for row in kept] == list(ann.pictures)
    assert all(0 < row["probability"] <= 1 for row in kept)


def test_two_people_at_once_overwrite_nothing_and_a_dispute_is_said(out: Path) -> None:
    ann, ben = Session(str(out), 6), Session(str(out), 6)
    picture = masked(ann)[0]
    said_of(ann, picture, "right", "Ann")
    ben.refresh(0)
    rows = ben.picture(picture).rows
    others = ben.judge(picture, "Ben", [(rows[0]["class_name"], verdicts.answer_digest(rows[0]), "wrong", None)])
    assert [(one.reviewer, one.verdict) for one in others] == [("Ann", "right")]
    assert len(list((out / "review").glob("verdicts-*.parquet"))) == 2
    said = verdicts.read(str(out))
    assert len(said) == 3
    told = figures.figures(catalogues.load(str(out)))
    (remark,) = told["remarks"]
    assert "judged differently by two people" in remark
    assert "right by Ann, wrong by Ben" in remark
    assert told["reviewers"] == ["Ann", "Ben"]


def test_a_second_thought_of_one_person_is_no_dispute(out: Path) -> None:
    session = Session(str(out), 6)
    for verdict in ("wrong", "right"):
        said_of(session, masked(session)[0], verdict)
    told = figures.figures(catalogues.load(str(out)))
    assert told["remarks"] == []
    assert {one.verdict for one in session.holding().values()} == {"right"}


def test_verdicts_on_answers_given_again_are_kept_said_and_not_counted(out: Path) -> None:
    session = Session(str(out), COUNT)
    picture = masked(session)[0]
    said_of(session, picture, "right")
    uri = session.picture(picture).image_uri
    number = number_of(uri)
    changed = [
        records.answer_from_mask(one.class_name, one.class_id, np.roll(one.mask, 3), one.score, 0.9, 0.5)
        for one in exported.answers(number)
    ]
    exported.commit(out, [ImageAnswers(uri, "1", changed)], "r2")
    told = figures.figures(catalogues.load(str(out)))
    assert "given again since" in told["remarks"][0]
    assert told["judged_pictures"] <= 1
    assert len(verdicts.read(str(out))) == 2
    row = session.picture(picture).rows[0]
    old = [(row["class_name"], verdicts.answer_digest(row), "right", None)]
    later = Session(str(out), COUNT)
    with pytest.raises(InputError, match="given again since it was shown"):
        later.judge(picture, "Ann", old)


def test_figures_are_printed_kept_and_shown_in_the_report(out: Path) -> None:
    catalogue = catalogues.load(str(out))
    summary = RunSummary(
        **{k: v for k, v in runs.recorded(str(out), last=1)[0].items() if k in RunSummary.__dataclass_fields__}
    )
    report.update(catalogue, summary, 0.5, None)
    session = Session(str(out), COUNT)
    for image_id in session.pictures:
        said_of(session, image_id, "right")
    done = CliRunner().invoke(app, ["review", str(out), "--figures"])
    assert done.exit_code == 0, done.output
    assert f"{COUNT} of {COUNT} pictures reviewed" in done.output
    assert "1.000" in done.output
    html = (out / "report" / "index.html").read_text()
    assert f"from {COUNT} pictures that people reviewed" in html
    assert "1.00" in html
    assert json.loads((out / "review" / "figures.json").read_text())["all"]["precision"]["low"] == 1


def test_a_mended_mask_is_right_from_half_on_as_score_has_it(out: Path) -> None:
    row = next(r for p in Session(str(out), COUNT).pictures.values() for r in p.rows if r["status"] == "mask")
    answered = records.decode_mask(row["rle"])
    y, x = np.nonzero(answered)
    most, few = answered.copy(), answered.copy()
    most[y[: len(y) // 4], x[: len(y) // 4]] = False
    few[y[len(y) // 4 :], x[len(y) // 4 :]] = False
    nothing = np.zeros_like(answered)
    for mask, verdict, is_right, is_there in (
        (most, "mended", True, True),
        (few, "mended", False, True),
        (nothing, "not_there", False, False),
    ):
        one = verdicts.judge(row, "mended", "Ann", "page", records.encode_mask(mask))
        assert (one.verdict, one.is_right, one.is_there) == (verdict, is_right, is_there)
    with pytest.raises(InputError, match=r"the mask is 5x4 pixels, the picture 80x60"):
        verdicts.judge(row, "mended", "Ann", "page", records.encode_mask(np.ones((4, 5), bool)))
    with pytest.raises(InputError, match="expected one of right, wrong, mended, not_there"):
        verdicts.judge(row, "missing", "Ann", "page")


def test_a_damaged_file_costs_its_own_verdicts_alone(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(str(out), 6)
    said_of(session, masked(session)[0], "right")
    (out / "review" / "verdicts-0-broken.parquet").write_bytes(b"PAR1 no more")
    assert len(verdicts.read(str(out))) == 2
    assert "verdicts-0-broken.parquet: damaged" in caplog.text


def test_an_output_without_answers_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no committed answers here"):
        list(reviewing.told(str(tmp_path / "nothing")))
    with pytest.raises(StorageError, match="no answers to review"):
        Session(str(tmp_path / "nothing"), 6)


# What labelling tools give back.


def handed_out(out: Path, folder: Path) -> Path:
    assert len(list(reviewing.hand_out(str(out), COUNT, str(folder)))) == 3
    return folder


def test_verdicts_come_back_from_label_studio(out: Path, tmp_path: Path) -> None:
    tasks = json.loads((handed_out(out, tmp_path / "sample") / "tasks.json").read_text())
    assert len(tasks) == COUNT
    done, expected = [], {}
    for task in tasks:
        number = number_of(task["data"]["image"])
        regions = [region for prediction in task.pop("predictions") for region in prediction["result"]]
        if number == 5:
            continue  # nobody looked at it
        if number == 7:
            half = exported.masks(7)["fox"] & (np.arange(exported.WIDTH) < 40)
            for region in regions:
                if region["value"]["brushlabels"] == ["fox"]:
                    region["value"]["rle"] = label_studio.encode_brush(half)
            expected[7, "fox"] = "mended"
        if number == 10:
            regions = [one for one in regions if one["value"]["brushlabels"] != ["fox"]]
            expected[10, "fox"] = "not_there"
        if number == 8:
            box = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["fox"]}
            regions = [{"value": box, "original_width": 80, "original_height": 60}]
            expected[8, "fox"] = "missing"
        task["annotations"] = [{"result": regions, "completed_by": {"email": "ann@example.org"}}]
        done.append(task)
    file = tmp_path / "export.json"
    file.write_text(json.dumps(done))
    lines = list(reviewing.take(str(out), COUNT, str(file), "somebody"))
    assert lines[0] == f"{2 * (COUNT - 1)} verdicts on {COUNT - 1} pictures taken from {file}"
    said = {(number_of(one.image_uri), one.class_name): one for one in verdicts.read(str(out))}
    assert {key: one.verdict for key, one in said.items() if one.verdict != "right"} == expected
    assert {one.reviewer for one in said.values()} == {"ann@example.org"}
    assert said[7, "fox"].iou == pytest.approx(0.5, abs=0.1)


def test_verdicts_come_back_as_cvat_exports_coco(out: Path, tmp_path: Path) -> None:
    document = json.loads((handed_out(out, tmp_path / "sample") / "instances.json").read_text())
    fox = next(one["id"] for one in document["categories"] if one["name"] == "fox")
    images = {one["id"]: one for one in document["images"]}
    dropped = next(one for one in document["annotations"] if one["category_id"] == fox)
    document["annotations"].remove(dropped)
    annotated = {one["image_id"] for one in [dropped, *document["annotations"]]}
    wrong_size = next(one for one in document["images"] if one["id"] not in annotated)
    wrong_size["width"] += 1
    document["images"].append({"id": 999, "file_name": "other/picture.jpg", "width": 5, "height": 5})
    file = tmp_path / "cvat.json"
    file.write_text(json.dumps(document))
    done = CliRunner().invoke(
        app, ["review", str(out), "--pictures", str(COUNT), "--take", str(file), "--reviewer", "Ben"]
    )
    assert done.exit_code == 0, done.output
    assert f"{2 * (COUNT - 1)} verdicts on {COUNT - 1} pictures" in done.output
    assert "it is 81x60 pixels in the file, the picture 80x60" in done.output
    assert "1 pictures of the file are not in the sample: other/picture.jpg" in done.output
    (denied,) = [one for one in verdicts.read(str(out)) if one.verdict != "right"]
    assert (denied.verdict, denied.class_name, denied.reviewer) == ("not_there", "fox", "Ben")
    assert denied.image_uri.endswith(images[dropped["image_id"]]["file_name"])


@pytest.mark.parametrize("content", ["[1]", "[{}]", "{", '{"images": 3}'])
def test_a_file_of_no_tool_is_refused_in_words(out: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(SpecError, match=r"export\.json: not"):
        list(reviewing.take(str(out), 4, str(tmp_path / "export.json"), "Ann"))


# What follows from corrections.


def corrected(out: Path) -> tuple[dict[str, str], np.ndarray]:
    """A mended fox, a fox that was overlooked, and a picture with nothing in it; returns their uris and the mask."""
    session = Session(str(out), COUNT)
    by_number = {number_of(one.image_uri): one for one in session.pictures.values()}
    half = exported.masks(7)["fox"] & (np.arange(exported.WIDTH) < 40)
    for number, verdict, class_name, mask in (
        (7, "mended", "fox", records.encode_mask(half)),
        (8, "missing", "fox", None),
        (10, "not_there", "fox", None),
        (10, "not_there", "brown hare", None),
        (11, "not_there", "fox", None),
    ):
        picture = by_number[number]
        row = next(row for row in picture.rows if row["class_name"] == class_name)
        session.judge(picture.image_id, "Ann", [(class_name, verdicts.answer_digest(row), verdict, mask)])
    return {name: by_number[n].image_uri for name, n in (("mended", 7), ("missing", 8), ("empty", 10))}, half


def document(folder: Path) -> Path:
    file = folder / "set.yaml"
    exported.write_image(folder / "shown" / "fox.png", 1)
    exported.write_image(folder / "shown" / "hare.png", 2)
    content = {"name": "animals", "classes": []}
    for name, picture in (("fox", "fox.png"), ("brown hare", "hare.png")):
        content["classes"].append({"name": name, "exemplars": [f"shown/{picture}"]})
    file.write_text("# ours\n" + yaml.safe_dump(content))
    return file


def test_corrections_go_into_a_document_once(out: Path, tmp_path: Path) -> None:
    uris, half = corrected(out)
    file = document(tmp_path)
    before = exemplars.load(str(file)).digest
    done = CliRunner().invoke(app, ["exemplars", "add", str(file), "--from-review", str(out)])
    assert done.exit_code == 0, done.output
    assert "2 exemplars added, 1 of them with a mask; 1 negatives" in done.output
    assert "no negatives, since they show another class or were not judged whole: 011.png" in done.output
    loaded = exemplars.load(str(file))
    assert loaded.digest != before
    fox = next(one for one in loaded.classes if one.name == "fox")
    assert [one.uri for one in fox.exemplars[1:]] == [uris["mended"], uris["missing"]]
    assert (fox.exemplars[1].mask == half).all()
    assert [one.uri for one in loaded.negatives] == [uris["empty"]]
    assert (tmp_path / "set.before-review.yaml").read_text().startswith("# ours")
    lines = list(adding.add(str(file), str(out)))
    assert "0 exemplars added" in lines[0]
    assert exemplars.load(str(file)).digest == loaded.digest


def test_corrections_go_into_a_folder_once(out: Path, tmp_path: Path) -> None:
    _, half = corrected(out)
    folder = tmp_path / "set"
    exported.write_image(folder / "fox" / "1.png", 1)
    exported.write_image(folder / "brown hare" / "1.png", 2)
    assert "2 exemplars added, 1 of them with a mask; 1 negatives" in next(iter(adding.add(str(folder), str(out))))
    loaded = exemplars.load(str(folder))
    fox = next(one for one in loaded.classes if one.name == "fox")
    (mask,) = [one.mask for one in fox.exemplars if one.mask is not None]
    assert (mask == half).all()
    assert len(loaded.negatives) == 1
    assert "0 exemplars added" in next(iter(adding.add(str(folder), str(out))))


def test_corrections_need_a_review_and_a_set(out: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nobody has reviewed these answers; `tlg review"):
        list(adding.add(str(document(tmp_path)), str(out)))
    with pytest.raises(SpecError, match="names have no exemplars to add to"):
        list(adding.add("names://fox", str(out)))


def test_a_difference_names_flips_and_the_masks_that_changed(out: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(comparing, "IMAGES_AT_ONCE", 5)
    other = exported.write_output(tmp_path / "second", COUNT)
    catalogue = catalogues.load(str(out))
    with pytest.raises(SpecError, match=r"no picture in common: 16 are answered in the first alone, 16 in the second"):
        list(comparing.diff(str(out), str(other)))
    uris = {number_of(row["image_uri"]): row["image_uri"] for row in _rows(catalogue)}
    again = []
    for number in range(COUNT):
        answers = exported.answers(number)
        if number == 7:
            half = answers[0].mask & (np.arange(exported.WIDTH) < 40)
            answers[0] = records.answer_from_mask("fox", 1, half, 0.8, 0.9, 0.5)
        if number == 10:
            answers[1] = records.answer_from_mask("brown hare", 2, np.zeros((60, 80), bool), 0.1, 0.1, 0.5)
        if number != 3:
            again.append(ImageAnswers(uris[number], "1", answers))
    exported.commit(tmp_path / "third", again)
    lines = list(comparing.diff(str(out), str(tmp_path / "third")))
    assert lines[0] == "15 pictures compared, 2 of them changed"
    table = {line.split("  ")[0]: line.split() for line in lines[2:4]}
    assert table["brown hare"][2:6] == ["15", "14", "0", "1"]
    assert table["fox"][1:5] == ["15", "14", "0", "0"]
    assert "in the first alone: 1 pictures; in the second alone: 0" in lines
    assert any("010.png: brown hare: a mask before, presence 0.90 before, 0.10 after" in line for line in lines)
    assert any("007.png: fox: IoU 0." in line for line in lines)


def _rows(catalogue):
    for table in catalogue.tables(["image_uri", "status"]):
        yield from (row for row in table.to_pylist() if row["status"] != "error")


def test_suggestions_go_to_the_class_in_doubt_and_say_why(tmp_path: Path) -> None:
    rows = []
    for number in range(30):
        uri = str(exported.write_image(exported.image_path(tmp_path / "images", number), number))
        fox = records.answer_from_mask("fox", 1, np.ones((60, 80), bool), 0.95, 0.95, 0.5)
        doubt = 0.51 + number / 200
        hare = records.answer_from_mask("brown hare", 2, np.ones((60, 80), bool), doubt, 0.9, 0.5)
        rows.append(ImageAnswers(uri, "1", [fox, hare]))
    exported.commit(tmp_path / "out", rows)
    done = CliRunner().invoke(app, ["suggest", str(tmp_path / "out")])
    lines = done.output.splitlines()
    assert len(lines) == 12
    assert lines[0].endswith("000.png")
    assert lines[1].strip() == "brown hare: its mask scores 0.51, and 30 masks score below 0.7"
    session = Session(str(tmp_path / "out"), 30)
    judged = next(one for one in session.pictures.values() if one.image_uri.endswith("000.png"))
    said_of(session, judged.image_id, "right")
    assert not any(one.image_uri.endswith("000.png") for one in suggesting.suggestions(session.catalogue))


def test_without_doubts_nothing_is_suggested(out: Path) -> None:
    assert "no answer is doubtful" in "".join(suggesting.suggest(str(out)))


def test_a_large_picture_is_shown_smaller_and_a_mask_must_fit(out: Path) -> None:
    from fastapi.testclient import TestClient

    from deploy.guard.auth import Keys
    from deploy.review.app import create_app
    from deploy.review.routes import LONGEST_SIDE

    session = Session(str(out), COUNT)
    client = TestClient(create_app(session, Keys([])), base_url="http://localhost", client=("127.0.0.1", 5))
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    image_id = masked(session)[0]
    Image.fromarray(np.zeros((30, 2 * LONGEST_SIDE, 3), np.uint8)).save(session.picture(image_id).image_uri)
    shown = Image.open(io.BytesIO(client.get(f"/api/review/pictures/{image_id}/image").content))
    assert shown.width == LONGEST_SIDE
    row = client.get(f"/api/review/pictures/{image_id}").json()["answers"][0]
    said = {"class_name": row["class_name"], "answer": row["answer"], "verdict": "mended"}
    for mask in ({"size": [60, 80], "counts": "1"}, {"size": [60, 80], "counts": "~"}):
        body = {"reviewer": "Ann", "verdicts": [said | {"mask": mask}]}
        assert client.post(f"/api/review/pictures/{image_id}/verdicts", json=body).status_code == 422
    assert client.get("/api/review/pictures/nobody").status_code == 422
    foreign = {"Origin": "http://elsewhere.example"}
    assert client.get("/api/review", headers=foreign).status_code == 403
    assert verdicts.read(str(out)) == []


def test_other_machines_need_the_key(out: Path) -> None:
    from fastapi.testclient import TestClient

    from deploy.guard.auth import Keys
    from deploy.review.app import create_app

    key = "a key of many characters"
    client = TestClient(create_app(Session(str(out), 4), Keys([key])), client=("10.0.0.9", 5))
    assert client.get("/").status_code == 200
    assert client.get("/api/review").status_code == 401
    assert client.get("/api/review", headers={"Authorization": f"Bearer {key}"}).status_code == 200
