"""The commands as a user types them: what they print and the code they leave with."""

import sys

import pytest
import yaml

from jobs.output.lease import Lease
from tests.jobs import collection
from tlg import cli

pytestmark = pytest.mark.cluster


def tlg(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["tlg", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    seen = capsys.readouterr()
    return left.value.code, seen.out, seen.err


@pytest.fixture
def job(tmp_path, exemplar_folder):
    collection.write(tmp_path / "images", 10)
    spec = collection.spec("images", exemplar_folder, "out")
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(include={"name", "images", "exemplars", "model", "output"})))
    return file


def test_from_plan_to_export(job, tmp_path, monkeypatch, capsys, local_ray):
    code, out, _ = tlg(monkeypatch, capsys, "validate", job)
    assert code == 0
    assert out.count("ok  ") == 4
    code, out, _ = tlg(monkeypatch, capsys, "plan", job, "--set", "run.price_per_hour=2")
    assert code == 0
    assert "10 to do of 10" in out
    assert "cost" in out
    code, out, err = tlg(monkeypatch, capsys, "annotate", job)
    assert code == 0, err
    assert "10 images in" in out
    code, out, _ = tlg(monkeypatch, capsys, "annotate", job)
    assert "nothing to do: all 10 images are answered" in out
    code, out, _ = tlg(monkeypatch, capsys, "status", tmp_path / "out")
    assert "10 images answered: 10 masks, 10 absent" in out
    for kind, file in (("label_studio", "label_studio/tasks.json"), ("parquet", "part-00000001.parquet")):
        code, out, _ = tlg(monkeypatch, capsys, "export", tmp_path / "out", "--to", tmp_path / "e", "--format", kind)
        assert code == 0
        assert (tmp_path / "e" / file).exists()
    code, out, _ = tlg(monkeypatch, capsys, "plan", job)
    assert "nothing to do" in out


def test_every_failure_has_its_code_and_its_way_out(job, tmp_path, monkeypatch, capsys):
    code, _, err = tlg(monkeypatch, capsys, "annotate")
    assert (code, "give a spec file, or all of --images" in err) == (2, True)
    code, _, err = tlg(monkeypatch, capsys, "annotate", tmp_path / "none.yaml")
    assert (code, "there is no such spec file" in err) == (2, True)
    code, _, err = tlg(monkeypatch, capsys, "annotate", job, "--set", "images.uri=nowhere")
    assert (code, "nowhere: does not exist" in err) == (5, True)
    code, _, err = tlg(monkeypatch, capsys, "validate", job, "--set", "images.pattern=*.tif")
    assert (code, "files that do not match *.tif" in err) == (9, True)
    with Lease(str(tmp_path / "out"), "first"):
        code, _, err = tlg(monkeypatch, capsys, "annotate", job)
    assert (code, "run first on" in err) == (6, True)
    code, _, err = tlg(monkeypatch, capsys, "status", tmp_path)
    assert (code, "no runs recorded here" in err) == (5, True)
    code, _, err = tlg(monkeypatch, capsys, "export", tmp_path, "--to", tmp_path / "e", "--format", "voc")
    assert (code, "unknown format 'voc'" in err) == (2, True)


def test_places_typed_wrong_leave_nothing_behind(tmp_path, exemplar_folder, monkeypatch, capsys):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    for images, exemplars, model, expected in (
        ("nowhere", exemplar_folder, "tlg-tiny", (5, "nowhere: does not exist")),
        ("notes", exemplar_folder, "tlg-tiny", (9, "no images: found 1 .txt file")),
        (exemplar_folder, "nowhere", "tlg-tiny", (5, "nowhere: does not exist")),
        (exemplar_folder, exemplar_folder, "tlg-photos", (4, "unknown model")),
    ):
        options = ["--images", images, "--exemplars", exemplars, "--out", "new", "--set", f"model={model}"]
        code, _, err = tlg(monkeypatch, capsys, "annotate", *options)
        assert (code, expected[1] in err) == (expected[0], True), err
        assert not (tmp_path / "new").exists()
