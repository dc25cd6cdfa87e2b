"""What a user writes is read strictly, and every complaint names the way out."""

import pytest

from tlg import documents, spec
from tlg.errors import SpecError

MINIMAL = {"name": "traps", "images": {"uri": "pics"}, "exemplars": "ex.yaml", "output": {"uri": "out"}}


def test_defaults_fill_what_is_left_out():
    read = documents.parse(spec.AnnotateSpec, MINIMAL, "job.yaml")
    assert read.model == spec.DEFAULT_MODEL
    assert read.run.min_score == 0.5
    assert read.output.formats == ["parquet", "coco"]


def test_unknown_key_names_the_nearest():
    with pytest.raises(SpecError, match=r"job.yaml: unknown key 'run.min_scor' \(did you mean 'min_score'\?\)"):
        documents.parse(spec.AnnotateSpec, MINIMAL | {"run": {"min_scor": 0.4}}, "job.yaml")


def test_every_problem_is_listed():
    with pytest.raises(SpecError) as caught:
        documents.parse(spec.AnnotateSpec, {"name": "x", "exemplar": 1}, "job.yaml")
    text = str(caught.value)
    assert "did you mean 'exemplars'" in text
    assert "key 'images' is missing" in text
    assert "key 'output' is missing" in text


def test_overrides_reach_nested_keys(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("name: traps\nimages: {uri: pics}\nexemplars: ex.yaml\noutput: {uri: out}\n")
    read = spec.load_annotate_spec(str(file), ["run.batch_size=3", "workers.max=4"])
    assert read.run.batch_size == 3
    assert read.workers.max == 4
    assert read.images.uri == str(tmp_path / "pics")


def test_workers_must_be_ordered():
    with pytest.raises(SpecError, match=r"workers\.min is 5, above workers\.max 2"):
        documents.parse(spec.AnnotateSpec, MINIMAL | {"workers": {"min": 5, "max": 2}}, "job.yaml")
