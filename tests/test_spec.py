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


@pytest.mark.parametrize(
    ("images", "address"),
    [
        ({"label_studio": {"url": "http://studio:8080/", "project": 7}}, "label-studio+http://studio:8080/projects/7"),
        ({"cvat": {"url": "https://app.cvat.ai", "task": 12}}, "cvat+https://app.cvat.ai/tasks/12"),
    ],
)
def test_a_labelling_tool_is_another_spelling_of_an_address(images, address):
    read = documents.parse(spec.AnnotateSpec, MINIMAL | {"images": images}, "job.yaml")
    assert read == documents.parse(spec.AnnotateSpec, MINIMAL | {"images": {"uri": address}}, "job.yaml")
    assert read.model_dump(mode="json", exclude_unset=True)["images"] == {"uri": address}
    assert documents.parse(spec.AnnotateSpec, read.model_dump(), "again") == read


def test_images_come_from_one_place():
    both = {"uri": "pics", "cvat": {"url": "https://app.cvat.ai", "task": 12}}
    for images in (both, {}):
        with pytest.raises(SpecError, match="images: give exactly one of `uri`"):
            documents.parse(spec.AnnotateSpec, MINIMAL | {"images": images}, "job.yaml")
