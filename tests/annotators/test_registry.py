"""Models of other packages: found by entry point, loaded once, run by the job's own worker."""

import sys
from pathlib import Path

import pytest

from jobs.flow import fetch
from jobs.flow.segment import Segmenter
from tests import outside
from tests.annotators.sets import NAMES, exemplar_set, picture, scene
from tlg.annotators import registry
from tlg.annotators.protocol import AnnotateParams
from tlg.answers.records import Provenance
from tlg.errors import CheckpointError, SpecError

TOY = """
from tlg.answers.records import answer_from_mask


class Loader:
    loaded = []

    def load(self, name, device=None):
        Loader.loaded.append((name, device))
        return Model(name)

    def digest_of(self, name):
        return f"acme-{name}"


class Model:
    def __init__(self, name):
        self.digest = f"acme-{name}"

    def with_exemplars(self, exemplars, params=None):
        return Annotator(self.digest, exemplars, params)


class Annotator:
    def __init__(self, digest, exemplars, params):
        self.model_digest, self.exemplars_digest = digest, exemplars.digest
        self.class_names, self.params = exemplars.class_names, params

    def annotate(self, pictures, asked=None):
        return [
            [
                answer_from_mask(name, number, picture.pixels[:, :, 0] > 100, 1.0, 1.0, 0.5)
                for number, name in enumerate(self.class_names, start=1)
            ]
            for picture in pictures
        ]

    def release_memory(self):
        pass

    def healthy(self):
        return True
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = ["acme = acme_segment:Loader", "lost = acme_segment:Gone"]
    outside.install(tmp_path, monkeypatch, "acme_segment", TOY, {"tlg.annotators": entries})


@pytest.mark.usefixtures("acme")
def test_a_model_of_another_package_is_loaded_by_its_name():
    model = registry.load_model("acme:birds", "cpu")
    assert model.digest == registry.model_digest("acme:birds") == "acme-birds"
    assert sys.modules["acme_segment"].Loader.loaded == [("birds", "cpu")]
    annotator = model.with_exemplars(exemplar_set(), AnnotateParams())
    assert [answer.class_name for answer in annotator.annotate([picture(scene(1, ["mug"]))])[0]] == list(NAMES)


@pytest.mark.usefixtures("acme")
def test_a_job_s_worker_runs_the_model_of_another_package():
    shown = picture(scene(1, ["mug"]))
    fetched = [
        fetch.Fetched(0, "a.jpg", None, None, shown),
        fetch.Fetched(1, "b.jpg", None, None, error_type="empty", error_message="0 bytes"),
    ]
    model = registry.load_model("acme:birds", "cpu")
    segmenter = Segmenter(model, exemplar_set(), AnnotateParams(), Provenance("m", "e", "p", "r"), batch_size=4)
    rows = [row for table in segmenter(fetch.to_table(fetched)) for row in table.to_pylist()]
    assert sorted((row["image_uri"], row["class_name"], row["status"]) for row in rows if row["class_name"]) == [
        ("a.jpg", "mug", "mask"),
        ("a.jpg", "truck", "mask"),
    ]
    assert [row["error_type"] for row in rows if row["image_uri"] == "b.jpg"] == ["empty"]


@pytest.mark.usefixtures("acme")
def test_a_package_that_cannot_be_loaded_is_named():
    with pytest.raises(CheckpointError, match=r"'lost' comes from acme_segment:Gone"):
        registry.load_model("lost:birds")


def test_an_unknown_family_is_no_model():
    with pytest.raises(CheckpointError, match="unknown model 'acme:birds'"):
        registry.load_model("acme:birds")


def test_a_rehearsal_s_pace_is_a_number():
    with pytest.raises(SpecError, match="expected dry-run or dry-run:SECONDS_PER_IMAGE"):
        registry.load_model("dry-run:fast")


def test_one_model_serves_many_exemplar_sets_with_the_same_weights():
    model = registry.load_model("tlg-tiny", "cpu")
    mugs, both = (
        model.with_exemplars(exemplar_set(names, names), AnnotateParams(tile="off")) for names in (("mug",), NAMES)
    )
    assert mugs.model.backbone is both.model.backbone
    shown = picture(scene([50, 0], ["mug"], "mug"))
    again = registry.load_annotator("tlg-tiny", exemplar_set(), device="cpu")
    assert both.annotate([shown]) == again.annotate([shown])
    assert both.healthy()
