"""The job on a real Ray, with local files: what is done, done again, left out, and written."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO

from jobs.annotate import annotate
from jobs.commands import status
from jobs.flow import pipeline
from jobs.output import exports, runs
from tests.jobs import collection, odd_files
from tlg import store
from tlg.answers import records
from tlg.errors import TooManyErrors

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("local_ray")]


def no_ray(*_: object) -> None:
    raise AssertionError("a run with nothing to do must not start Ray")


def test_runs_again_only_for_what_is_missing(tmp_path, exemplar_folder, monkeypatch):
    images = collection.write(tmp_path / "images", 30)
    spec = collection.spec(str(images), exemplar_folder, str(tmp_path / "out"))
    first = annotate(spec)
    assert (first.images, first.done, first.masks, first.absent, first.errors) == (30, 30, 30, 30, 0)
    assert first.seconds > 0
    before = collection.answers(spec.output.uri)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "ray_session", no_ray)
        assert annotate(spec).images == 0

    (images / "0" / "0000.png").write_bytes(collection.picture(99))
    (images / "0" / "new.png").write_bytes(collection.picture(100))
    (images / "0" / "bad.png").write_bytes(b"no picture")
    third = annotate(spec.model_copy(update={"run": spec.run.model_copy(update={"max_error_rate": 0.5})}))
    assert (third.images, third.replaced, third.errors) == (3, 1, 1)
    after = collection.answers(spec.output.uri)
    collection.assert_each_once(after)
    assert len(after) == 30 * 2 + 2 + 1
    changed = str(images / "0" / "0000.png")
    unchanged = [row for row in before.to_pylist() if row["image_uri"] != changed]
    assert [row for row in after.to_pylist() if row in unchanged] == unchanged


@pytest.mark.long
def test_failed_images_other_parameters_and_force_are_answered_again(tmp_path, exemplar_folder):
    images = collection.write(tmp_path / "images", 8)
    (images / "0" / "bad.png").write_bytes(b"no picture")
    spec = collection.spec(str(images), exemplar_folder, str(tmp_path / "out"), run={"max_error_rate": 0.5})
    assert annotate(spec).errors == 1

    (images / "0" / "bad.png").write_bytes(collection.picture(101))
    (images / "0" / "later.png").write_bytes(collection.picture(102))
    only_failed = annotate(spec, only_failed=True)
    assert (only_failed.images, only_failed.errors) == (1, 0)
    assert not store.listed(f"{spec.output.uri}/quarantine", "*.parquet")

    stricter = spec.model_copy(update={"run": spec.run.model_copy(update={"min_score": 0.6})})
    assert annotate(stricter).images == 10
    collection.assert_each_once(collection.answers(spec.output.uri))
    assert annotate(stricter, force=True).images == 10
    collection.assert_each_once(collection.answers(spec.output.uri))
    assert {run["state"] for run in runs.recorded(spec.output.uri)} == {"succeeded"}
    assert any("10 images answered" in line for line in status.status(spec.output.uri))


def test_coco_holds_the_same_pixels(tmp_path, exemplar_folder):
    images = collection.write(tmp_path / "images", 12)
    out = str(tmp_path / "out")
    annotate(collection.spec(str(images), exemplar_folder, out, output={"uri": out, "formats": ["coco", "overlay"]}))
    rows = [row for row in collection.answers(out).to_pylist() if row["status"] == "mask"]
    exports.export(out, "coco", str(tmp_path / "polygons"), masks="polygon")
    for folder in (tmp_path / "out", tmp_path / "polygons"):
        coco = COCO(str(folder / "coco" / "instances.json"))
        assert len(coco.imgs) == 12
        assert [one["name"] for one in coco.cats.values()] == ["fox", "hare"]
        by_image = {coco.imgs[one["image_id"]]["coco_url"]: one for one in coco.anns.values()}
        assert len(by_image) == len(rows) == 12
        for row in rows:
            annotation = by_image[row["image_uri"]]
            mask = records.decode_mask(row["rle"])
            assert (coco.annToMask(annotation).astype(bool) == mask).all()
            ys, xs = np.nonzero(mask)
            assert annotation["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            assert annotation["area"] == mask.sum()
            assert (images / coco.imgs[annotation["image_id"]]["file_name"]).exists()
    assert len(list((tmp_path / "out" / "overlay").glob("*.png"))) == 12
    html = (tmp_path / "out" / "report" / "index.html").read_text()
    assert html.count("data:image/jpeg;base64") == 12
    assert "http://" not in html


def test_odd_and_broken_files_become_answers_or_fitting_errors(tmp_path, exemplar_folder):
    expected = odd_files.write(tmp_path / "images")
    assert len(expected) >= 25
    run = {"max_error_rate": 1.0, "max_pixels": 300_000}
    spec = collection.spec(str(tmp_path / "images"), exemplar_folder, str(tmp_path / "out"), run=run)
    summary = annotate(spec)
    found = {}
    for row in collection.answers(spec.output.uri).to_pylist():
        if row["class_id"] in (1, None):
            found[row["image_uri"].rsplit("/", 1)[1]] = row["error_type"] or row["status"]
    assert found == expected
    failed = [name for name, outcome in expected.items() if outcome not in ("mask", "absent")]
    assert summary.errors == len(failed)
    quarantined = quarantine(tmp_path / "out")
    assert {uri.rsplit("/", 1)[1] for uri in quarantined["image_uri"].to_pylist()} == set(failed)
    assert all(quarantined["error_message"].to_pylist())
    annotate(spec, only_failed=True)
    assert quarantine(tmp_path / "out").equals(quarantined)


def quarantine(out: Path) -> pa.Table:
    table = pq.read_table(out / "quarantine" / "errors.parquet").drop_columns(["run_id"])
    return table.sort_by("image_uri")


def test_too_many_errors_stop_the_run_and_say_why(tmp_path, exemplar_folder):
    images = collection.write(tmp_path / "images", 20)
    for number in range(10):
        (images / f"bad{number}.jpg").write_bytes(b"no picture")
    spec = collection.spec(str(images), exemplar_folder, str(tmp_path / "out"), run={"max_error_rate": 0.1})
    with pytest.raises(TooManyErrors, match=r"not_an_image.*more than run.max_error_rate 0.1 allows"):
        annotate(spec)
    recorded = runs.recorded(spec.output.uri)[0]
    assert recorded["state"] == "stopped"
    assert recorded["done"] == len(set(collection.answers(spec.output.uri)["image_uri"].to_pylist())) > 0


def test_manifest_asks_only_the_labelled_classes(tmp_path, exemplar_folder):
    images = collection.write(tmp_path / "images", 4)
    names = sorted(str(path) for path in images.rglob("*.png"))
    lines = [{"uri": names[0], "may": ["hare"]}, {"uri": names[1], "may": []}, {"uri": names[2], "may": None}]
    lines += [{"uri": names[3], "may": ["hare", "fox", "wolf"]}, {"uri": names[0], "may": ["hare"]}]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    source = {"manifest": str(manifest), "labels": "may"}
    spec = collection.spec("", exemplar_folder, str(tmp_path / "out"), images=source)
    assert annotate(spec).images == 3
    asked = [(row["image_uri"], row["class_name"]) for row in collection.answers(spec.output.uri).to_pylist()]
    assert asked == [
        (names[0], "hare"),
        (names[2], "fox"),
        (names[2], "hare"),
        (names[3], "fox"),
        (names[3], "hare"),
    ]
    assert annotate(spec).images == 0
    lines[0]["may"] = ["fox", "hare"]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    assert annotate(spec).images == 1
    collection.assert_each_once(collection.answers(spec.output.uri))


def test_thousands_of_tiny_images(tmp_path, exemplar_folder):
    content = collection.picture(1, side=16)
    count = 2500
    (tmp_path / "images").mkdir()
    for number in range(count):
        (tmp_path / "images" / f"{number:05d}.png").write_bytes(content)
    output = {"uri": str(tmp_path / "out"), "formats": ["parquet"]}
    spec = collection.spec(str(tmp_path / "images"), exemplar_folder, output["uri"], output=output)
    assert annotate(spec).done == count
    collection.assert_each_once(collection.answers(output["uri"]))
    assert annotate(spec).images == 0
