"""Every format: what it writes, that a job keeps it up to date, and that other packages may bring one."""

from __future__ import annotations

import base64
import gc
import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from jobs.output import catalogue as catalogues
from jobs.output import exports, image_files, runs, shards
from jobs.output.formats import hugging_face, label_studio_jsonl, registry
from jobs.output.identity import image_numbers
from jobs.output.lease import Lease
from jobs.output.splits import split_of
from jobs.output.writer import ShardWriter
from tests import outside
from tests.jobs import exported
from tlg import spec as specs
from tlg.answers import records
from tlg.answers.formats import label_map
from tlg.answers.records import ImageAnswers
from tlg.documents import parse
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec

COUNT = 8
PER_IMAGE = ["labelme", "label_maps", "yolo_seg"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return exported.write_output(tmp_path, COUNT)


def job_writes(out: Path, *formats: str) -> list[str]:
    """What a job's end writes into its output."""
    content = {
        "name": "foxes",
        "images": {"uri": str(out.parent / "images")},
        "exemplars": "e",
        "output": {"uri": str(out), "formats": list(formats)},
    }
    spec = parse(AnnotateSpec, content, "test")
    summary = runs.RunSummary("r2", "foxes", str(out), str(out.parent / "images"))
    return exports.write(spec, summary, catalogues.load(str(out)))


def files(folder: Path) -> dict[str, int]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def drawn(points: list[float]) -> np.ndarray:
    rles = coco_mask.frPyObjects([points], exported.HEIGHT, exported.WIDTH)
    return coco_mask.decode(rles)[..., 0].astype(bool)


def test_the_spec_and_the_registry_name_the_same_formats() -> None:
    assert tuple(registry.FORMATS.ours) == specs.OUR_EXPORT_FORMATS


@pytest.mark.parametrize("name", specs.OUR_EXPORT_FORMATS)
def test_every_format_is_written_on_request_and_by_a_job_and_then_left_alone(out: Path, tmp_path: Path, name: str):
    assert exports.export(str(out), name, str(tmp_path / "e")).uris
    written = job_writes(out, name)
    assert len(written) > 1 or name == "parquet"
    before = files(out)
    assert job_writes(out, name) == []
    assert files(out) == before


def test_label_studio_lines_are_the_tasks_of_the_list(out: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(label_studio_jsonl, "TASKS_PER_FILE", 3)
    exports.export(str(out), "label_studio", str(tmp_path))
    written = exports.export(str(out), "label_studio_jsonl", str(tmp_path)).uris
    assert [Path(uri).name for uri in written] == [f"tasks-{number:05d}.jsonl" for number in range(4)]
    lines = [json.loads(line) for uri in written for line in Path(uri).read_text().splitlines()]
    assert lines == json.loads((tmp_path / "label_studio" / "tasks.json").read_text())
    assert len(lines) == COUNT


def test_labelme_documents_draw_the_same_pixels_and_lead_to_their_pictures(out: Path, tmp_path: Path) -> None:
    exports.export(str(out), "labelme", str(tmp_path / "e"))
    folder = tmp_path / "e" / "labelme"
    assert len(files(folder)) == COUNT
    for number in range(COUNT):
        file = exported.image_path(folder, number).with_suffix(".json")
        document = json.loads(file.read_text())
        assert Image.open(file.parent / document["imagePath"]).size == (exported.WIDTH, exported.HEIGHT)
        found = {name: np.zeros((exported.HEIGHT, exported.WIDTH), bool) for name in exported.NAMES}
        for shape in document["shapes"]:
            found[shape["label"]] |= drawn([side for point in shape["points"] for side in point])
        for name, mask in exported.masks(number).items():
            assert (found[name] == mask).all()


def test_a_picture_of_another_store_travels_inside_its_labelme_document(out: Path, tmp_path: Path) -> None:
    exports.export(str(out), "labelme", "memory://labelme-test")
    from tlg import store

    document = json.loads(store.read("memory://labelme-test/labelme/night 1/001.json"))
    picture = Image.open(io.BytesIO(base64.b64decode(document["imageData"])))
    assert (np.asarray(picture) == np.asarray(Image.open(exported.image_path(tmp_path / "images", 1)))).all()


def test_yolo_labels_draw_the_same_pixels_and_splits_follow_from_the_image(out: Path, tmp_path: Path) -> None:
    exports.export(str(out), "yolo_seg", str(tmp_path / "e"))
    folder = tmp_path / "e" / "yolo_seg"
    data = yaml.safe_load((folder / "data.yaml").read_text())
    assert data["names"] == dict(enumerate(exported.NAMES))
    for number in range(COUNT):
        path = exported.image_path(tmp_path / "images", number)
        place = f"{split_of(records.image_id(str(path)))}/{path.relative_to(tmp_path / 'images')}"
        assert (folder / "images" / place).read_bytes() == path.read_bytes()
        found = {name: np.zeros((exported.HEIGHT, exported.WIDTH), bool) for name in exported.NAMES}
        for line in (folder / "labels" / place).with_suffix(".txt").read_text().splitlines():
            place_of_class, *shares = line.split()
            sizes = (exported.WIDTH, exported.HEIGHT) * (len(shares) // 2)
            points = [float(share) * size for share, size in zip(shares, sizes, strict=True)]
            found[data["names"][int(place_of_class)]] |= drawn(points)
        for name, mask in exported.masks(number).items():
            assert (found[name] == mask).all()


def test_about_four_fifths_of_the_images_are_for_training() -> None:
    splits = [split_of(records.image_id(f"s3://b/{number}.jpg")) for number in range(5000)]
    assert 0.77 < splits.count("train") / 5000 < 0.83
    assert 0.08 < splits.count("val") / 5000 < 0.12


def test_label_maps_are_exclusive_and_the_higher_score_wins(out: Path, tmp_path: Path) -> None:
    exports.export(str(out), "label_maps", str(tmp_path))
    for number in range(COUNT):
        image = Image.open(exported.image_path(tmp_path / "label_maps", number))
        fox, hare = exported.masks(number).values()
        assert image.mode == "P"
        assert (np.asarray(image) == np.where(fox, 1, np.where(hare, 2, 0))).all()
        assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    names = json.loads((tmp_path / "label_maps" / "classes.json").read_text())
    assert names == {"0": "background", "1": "fox", "2": "brown hare"}


def test_of_masks_with_one_score_the_smaller_lies_on_top() -> None:
    large, small = np.ones((4, 6), bool), np.zeros((4, 6), bool)
    small[1:3, 2:4] = True
    rows = [
        {"class_name": name, "status": "mask", "score": 0.7, "area": int(mask.sum()), "rle": records.encode_mask(mask)}
        | {"height": 4, "width": 6}
        for name, mask in (("small", small), ("large", large), ("same", large))
    ]
    labels = label_map.labels(rows, {"small": 3, "large": 1, "same": 2})
    assert (labels == np.where(small, 3, 1)).all()


def test_more_classes_than_a_label_map_holds_are_refused_with_the_way_out() -> None:
    with pytest.raises(SpecError, match=r"class ids up to 254, found 300; .*--class"):
        label_map.check([(1, "fox"), (300, "hare")])


def test_a_hugging_face_row_has_the_picture_its_label_map_and_its_answers(out: Path, tmp_path: Path) -> None:
    written = exports.export(str(out), "hugging_face", str(tmp_path / "e")).uris
    rows = [row for uri in written if uri.endswith(".parquet") for row in pq.read_table(uri).to_pylist()]
    assert len(rows) == COUNT
    for row in rows:
        path = Path(row["image_uri"])
        masks = exported.masks(int(path.stem))
        assert row["image"] == {"bytes": path.read_bytes(), "path": path.name}
        fox, hare = masks.values()
        labels = np.asarray(Image.open(io.BytesIO(row["label_map"]["bytes"])))
        assert (labels == np.where(fox, 1, np.where(hare, 2, 0))).all()
        for answer in row["answers"]:
            if answer["status"] == "mask":
                assert (records.decode_mask(answer["rle"]) == masks[answer["class_name"]]).all()
    card = (tmp_path / "e" / "hugging_face" / "README.md").read_text()
    named = yaml.safe_load(card.split("---")[1])["configs"][0]["data_files"]
    there = {path.stem.rsplit("-", 1)[1] for path in (tmp_path / "e" / "hugging_face" / "data").iterdir()}
    assert {one["split"] for one in named} == there


def test_croissant_names_the_digests_and_the_files_beside_it(out: Path, tmp_path: Path) -> None:
    job_writes(out, "croissant")
    document = json.loads((out / "croissant.json").read_text())
    (activity,) = document["prov:wasGeneratedBy"]
    used = {one["name"]: one["identifier"] for one in activity["prov:used"]}
    assert used == {"model": "model-1", "exemplars": "exemplars-1", "parameters": "params-1"}
    exports.export(str(out), "croissant", str(tmp_path / "e"), chosen=exports.Filter(classes=("fox",)))
    copied = [pq.read_table(path) for path in sorted((tmp_path / "e" / "annotations").iterdir())]
    assert {name for table in copied for name in table["class_name"].to_pylist()} == {"fox", None}


@pytest.mark.parametrize("name", PER_IMAGE)
def test_a_night_writes_the_files_of_its_own_images_alone(out: Path, name: str) -> None:
    job_writes(out, name)
    before = files(out / name)
    path = exported.write_image(exported.image_path(out.parent / "images", 20), 20)
    exported.commit(out, [ImageAnswers(str(path), "1", exported.answers(20))], "r2")
    job_writes(out, name)
    after = files(out / name)
    changed = {file for file, time in after.items() if before.get(file) != time}
    assert {Path(file).stem for file in changed} <= {"020", "classes", "data"}
    assert any(Path(file).stem == "020" for file in changed)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_files_of_images_that_went_are_removed_and_others_stay(out: Path, name: str) -> None:
    job_writes(out, name)
    gone = str(exported.image_path(out.parent / "images", 1))
    with Lease(str(out), "r2") as lease:
        writer = ShardWriter(catalogues.load(str(out), keep=True), lease)
        writer.drop_images(image_numbers([records.image_id(gone)]))
    job_writes(out, name)
    stems = {Path(file).stem for file in files(out / name)} - {"classes", "data"}
    assert stems == {f"{number:03d}" for number in range(COUNT) if number != 1}


@pytest.mark.parametrize("name", PER_IMAGE)
def test_images_that_differ_in_their_suffix_alone_do_not_share_a_file(out: Path, tmp_path: Path, name: str) -> None:
    twin = exported.write_image(exported.image_path(tmp_path / "images", 1).with_suffix(".bmp"), 2)
    exported.commit(out, [ImageAnswers(str(twin), "1", exported.answers(2))], "r2")
    exports.export(str(out), name, str(tmp_path / "e"))
    stems = [Path(file).stem for file in files(tmp_path / "e" / name)]
    assert "001" not in stems
    assert {"001.png", "001.bmp"} <= set(stems)


@pytest.mark.parametrize("name", ["yolo_seg", "hugging_face"])
def test_an_image_that_is_gone_is_left_out_and_costs_no_other(out: Path, tmp_path: Path, name: str) -> None:
    exported.image_path(tmp_path / "images", 1).unlink()
    done = exports.export(str(out), name, str(tmp_path / "e"))
    if name == "yolo_seg":
        assert "files of 7 images; 1 left out" in done.remark
        assert "001.png" in done.remark
    else:
        assert done.remark.startswith("1 images are gone and left out: ")
        assert sum(pq.read_metadata(uri).num_rows for uri in done.uris if uri.endswith(".parquet")) == COUNT - 1


def test_an_address_never_leads_out_of_the_folder() -> None:
    assert image_files._place("https://host/../../etc/passwd.jpg", "") == "host/etc/passwd.jpg"


TOY = """
from jobs.output.formats.protocol import ExportFormat
from jobs.output.selection import Exported
from tlg import store


class Names(ExportFormat):
    def write(self, answers):
        uri = f"{answers.base}/names.txt"
        names = [rows[0]["image_uri"] for rows in answers.images()]
        store.write(uri, "\\n".join(names).encode(), answers.access)
        return Exported([uri], f"{len(names)} names")
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = ["names = toy_export:Names", "lost = toy_export:Gone"]
    outside.install(tmp_path, monkeypatch, "toy_export", TOY, {"tlg.exports": entries})


@pytest.mark.usefixtures("toy")
def test_a_format_of_another_package_is_exported_and_written_by_jobs(out: Path, tmp_path: Path) -> None:
    assert exports.export(str(out), "names", str(tmp_path / "e")).remark == "9 names"
    assert len(job_writes(out, "names")) == 2
    assert job_writes(out, "names") == []
    exported.commit(out, [ImageAnswers("/new.png", "1", exported.answers(1))], "r2")
    job_writes(out, "names")
    assert "/new.png" in (out / "names.txt").read_text()


@pytest.mark.usefixtures("toy")
def test_a_format_whose_package_cannot_be_loaded_is_named() -> None:
    with pytest.raises(SpecError, match=r"format 'lost' comes from toy_export:Gone, which cannot be loaded"):
        registry.load("lost")


def test_an_unknown_format_names_the_nearest(out: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"unknown format 'labelmee' \(did you mean 'labelme'\?\): expected one of parquet, coco"
    ):
        exports.export(str(out), "labelmee", str(tmp_path / "e"))
    with pytest.raises(SpecError, match=r"output.formats: unknown format 'labelmee' \(did you mean 'labelme'\?\)"):
        job_writes(out, "labelmee")


def test_hugging_face_files_hold_so_many_images(out: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(hugging_face, "IMAGES_PER_FILE", 3)
    written = exports.export(str(out), "hugging_face", str(tmp_path / "e")).uris
    parts = {Path(uri).name[:10] for uri in written if uri.endswith(".parquet")}
    assert parts == {"part-00000", "part-00001", "part-00002", "part-00003"}


def peak_of_export(folder: Path, name: str, count: int) -> int:
    """Bytes of Python's own at the most, while so many images are exported: the least of three measurements."""
    out = exported.write_output(folder / f"{count}", count)
    registry.load(name)  # what is imported is not the export's
    peaks = []
    for _ in range(3):
        gc.collect()
        tracemalloc.start()
        exports.export(str(out), name, str(folder / f"e{count}"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return min(peaks)


@pytest.mark.parametrize("name", ["coco", "label_studio_jsonl", "label_maps", "hugging_face"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, monkeypatch, name: str) -> None:
    """`make bench ONLY=exports` measures whole processes with many more images."""
    monkeypatch.setattr(shards, "ROWS_AT_ONCE", 20)
    monkeypatch.setattr(hugging_face, "IMAGES_PER_FILE", 20)
    # How many are read and written at once depends on how busy the machine is; here it is soon as many as may.
    monkeypatch.setattr(hugging_face, "READ_AT_ONCE", 2)
    monkeypatch.setattr(image_files, "WAITING_AT_MOST", 10)
    peak_of_export(tmp_path, name, 10)
    assert peak_of_export(tmp_path, name, 160) < 1.5 * peak_of_export(tmp_path, name, 40)


def test_objects_stay_apart_in_every_format_that_can_hold_them(out: Path, tmp_path: Path) -> None:
    rows, columns = np.mgrid[: exported.HEIGHT, : exported.WIDTH]
    discs = [(rows - 30) ** 2 + (columns - x) ** 2 < 150 for x in (20, 60)]
    whole = records.answer_from_mask("fox", 1, discs[0] | discs[1], 0.9, 0.9, 0.5)
    parts = tuple(records.part_from_mask(disc, 0.8) for disc in discs)
    path = exported.write_image(exported.image_path(tmp_path / "images", 40), 40)
    exported.commit(out, [ImageAnswers(str(path), "1", [replace(whole, parts=parts)])], "r2")
    for name in ("labelme", "yolo_seg", "label_maps", "hugging_face", "label_studio"):
        exports.export(str(out), name, str(tmp_path / "e"))
    folder = tmp_path / "e"
    shapes = json.loads(next(folder.rglob("040.json")).read_text())["shapes"]
    assert [shape["group_id"] for shape in shapes] == [1, 2]
    assert len(next(folder.rglob("040.txt")).read_text().splitlines()) == 2
    assert set(np.unique(np.asarray(Image.open(next(folder.rglob("label_maps/**/040.png")))))) == {0, 1}
    table = [row for file in folder.rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    (row,) = [row for row in table if row["image_uri"] == str(path)]
    assert [answer["part"] for answer in row["answers"]] == [None, 1, 2]
    tasks = json.loads((folder / "label_studio" / "tasks.json").read_text())
    (task,) = [task for task in tasks if task["data"]["image"] == str(path)]
    assert [region["id"].rsplit("-", 1)[1] for region in task["predictions"][0]["result"]] == ["1", "2"]


def test_a_smaller_croissant_export_leaves_nothing_of_a_larger_one(out: Path, tmp_path: Path) -> None:
    left = tmp_path / "e" / "annotations" / "part-00000009.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of an earlier export")
    exports.export(str(out), "croissant", str(tmp_path / "e"))
    assert sorted(path.name for path in left.parent.iterdir()) == ["part-00000001.parquet", "part-00000002.parquet"]
