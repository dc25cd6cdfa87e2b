"""`run.background: collection`: nights agree to the last bit, and a kill while it is fitted leaves nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

from jobs.annotate import annotate
from jobs.commands.plan import plan
from jobs.flow import background, manifest
from tests import outside
from tests.jobs import collection
from tlg import store
from tlg.annotators import protocol
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import model_digest
from tlg.errors import SpecError, StorageError
from tlg.hub.folder import save_model
from tlg.network.backbones.registry import build_backbone
from tlg.spec import ImagesSpec

REPOSITORY = Path(__file__).parents[2]
COUNT = background.FEWEST + 2
# The driver is killed once every picture has been looked at, unless it has been before.
TOY = """
import os
import signal
from pathlib import Path

from tlg.annotators.network_loader import NetworkLoader


class Loader(NetworkLoader):
    def load(self, name, device=None):
        return Killed(super().load(os.environ["TOY_MODEL"], device), Path(os.environ["TOY_FLAG"]))

    def digest_of(self, name):
        return super().digest_of(os.environ["TOY_MODEL"])


class Killed:
    def __init__(self, model, flag):
        self.model, self.flag, self.digest, self.input_side = model, flag, model.digest, model.input_side

    def with_exemplars(self, exemplars, params=None):
        return self.model.with_exemplars(exemplars, params)

    def with_background(self, background):
        return self.model.with_background(background)

    def background_of(self, pictures):
        arrays = self.model.background_of(pictures)
        if not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return arrays
"""


# Minutes in all, and in processes without a Ray of other tests.
pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def no_ray_of_other_tests(request, monkeypatch):
    """What a test replaces in this process is not replaced in workers of a Ray that other tests left running."""
    if request.node.get_closest_marker("cluster") is None:
        monkeypatch.setattr("jobs.flow.execution._ray_runs", lambda: False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "prior"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_model(folder, "prior", build_backbone("tiny"), input_size=(64, 64))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return collection.write(tmp_path / "pictures", COUNT)


def spec_of(pictures, exemplar_folder, out, model, kind="collection", **changes):
    run = {"run": {"background": kind}}
    return collection.spec(str(pictures), exemplar_folder, str(out), model=str(model), **run, **changes)


def kept_file(out: Path) -> Path:
    (file,) = (out / background.FOLDER).iterdir()
    return file


def origin_of(file: Path) -> dict:
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"][background.ORIGIN])


def test_nights_agree_and_pictures_that_are_added_change_nothing(pictures, exemplar_folder, model, tmp_path):
    spec = spec_of(pictures, exemplar_folder, tmp_path / "out", model)
    first = annotate(spec)
    before, early = kept_file(tmp_path / "out").read_bytes(), collection.answers(spec.output.uri)
    for number in range(COUNT, COUNT + 4):
        (pictures / f"{number}.png").write_bytes(collection.picture(number))
    second = annotate(spec)
    assert (first.done, second.done) == (COUNT, 4)
    assert first.digests == second.digests
    assert kept_file(tmp_path / "out").read_bytes() == before
    later = collection.answers(spec.output.uri)
    assert early.to_pylist() == [
        row for row in later.to_pylist() if row["image_uri"] in set(early["image_uri"].to_pylist())
    ]
    # One run over everything, where the same is ordinary.
    shutil.copytree(tmp_path / "out" / background.FOLDER, tmp_path / "whole" / background.FOLDER)
    whole = spec_of(pictures, exemplar_folder, tmp_path / "whole", model)
    annotate(whole)
    assert collection.answers(whole.output.uri).equals(later)
    # By the model itself, every answer is another.
    assert plan(spec).images == 0
    assert plan(spec_of(pictures, exemplar_folder, tmp_path / "out", model, "model")).images == COUNT + 4
    assert [row for row in later["presence"].to_pylist() if row is not None]


def test_what_is_not_fitted_yet_has_answered_nothing(pictures, exemplar_folder, model, tmp_path):
    by_model = spec_of(pictures, exemplar_folder, tmp_path / "out", model, "model")
    annotate(by_model)
    assert plan(by_model).images == 0
    assert plan(spec_of(pictures, exemplar_folder, tmp_path / "out", model)).images == COUNT
    assert not (tmp_path / "out" / background.FOLDER).exists()


def test_answers_carry_it_in_their_identity_and_others_keep_theirs():
    said = AnnotateParams().model_dump(exclude={"objects", "smallest_object", "background"})
    said |= {"present": protocol.PRESENT, "version": protocol.ANSWERING_VERSION}
    text = json.dumps(said, sort_keys=True).encode()
    assert AnnotateParams().digest() == hashlib.blake2b(text, digest_size=8).hexdigest()
    assert len({AnnotateParams(background=digest).digest() for digest in (None, "a", "b")}) == 3


def test_it_changes_what_stands_out(pictures, exemplar_folder, model, tmp_path):
    from tlg import exemplars
    from tlg.annotators.registry import load_annotator
    from tlg.pictures import decode

    spec = spec_of(pictures, exemplar_folder, tmp_path / "out", model)
    found = background.fit_and_keep(spec, model_digest(str(model)), store.DEFAULT_ACCESS, None)
    loaded, shown = exemplars.load(str(exemplar_folder)), [decode(collection.picture(number)) for number in range(4)]
    by_model = load_annotator(str(model), loaded, AnnotateParams(), "cpu").annotate(shown)
    by_collection = load_annotator(str(model), loaded, AnnotateParams(), "cpu", found.arrays).annotate(shown)
    assert by_model != by_collection


def test_the_sample_depends_neither_on_the_order_nor_on_batches():
    uris = [f"/pictures/{number}.png" for number in range(500)]

    def sampled(order, batch):
        parts = [order[start : start + batch] for start in range(0, len(order), batch)]
        listed = [manifest.Listed(part, [None] * len(part), [None] * len(part), None, Counter()) for part in parts]
        return [row["uri"] for row in background.sample(listed, 50)]

    chosen = sampled(uris, 500)
    assert len(set(chosen)) == 50
    assert sampled(uris[::-1] + uris[:100], 37) == chosen
    assert len(set(chosen) & set(sampled([*uris, "/pictures/500.png"], 100))) >= 49


def test_pictures_that_cannot_be_read_are_passed_over(pictures, exemplar_folder, model, tmp_path):
    chosen = background.sample(manifest.listed(ImagesSpec(uri=str(pictures))))
    Path(chosen[0]["uri"]).write_bytes(b"no picture")
    spec = spec_of(pictures, exemplar_folder, tmp_path / "out", model)
    found = background.fit_and_keep(spec, "digest", store.DEFAULT_ACCESS, None)
    origin = origin_of(kept_file(tmp_path / "out"))
    assert origin == {"model": "digest", "pictures": [row["uri"] for row in chosen[1:]]}
    earlier = background.load_earlier(spec, "digest", store.DEFAULT_ACCESS)
    assert earlier is not None
    assert earlier.digest == found.digest
    assert background.load_earlier(spec, "another model's", store.DEFAULT_ACCESS) is None


def test_a_store_that_fails_for_now_ends_the_run_and_leaves_nothing(
    pictures, exemplar_folder, model, tmp_path, monkeypatch
):
    def out_of_reach():
        raise StorageError("the store is away", transient=True)

    monkeypatch.setattr(background, "downloads", lambda rows, *_: [(row, out_of_reach) for row in rows])
    spec = spec_of(pictures, exemplar_folder, tmp_path / "out", model)
    with pytest.raises(StorageError, match="the store is away"):
        background.fit_and_keep(spec, "digest", store.DEFAULT_ACCESS, None)
    assert not (tmp_path / "out").exists()


def test_of_two_that_fit_at_once_the_first_is_believed(pictures, exemplar_folder, model, tmp_path, monkeypatch):
    spec = spec_of(pictures, exemplar_folder, tmp_path / "out", model)
    first = background.fit_and_keep(spec, "digest", store.DEFAULT_ACCESS, None)
    (pictures / "0" / "0000.png").unlink()
    assert background.fit_and_keep(spec, "digest", store.DEFAULT_ACCESS, None).digest == first.digest


def test_a_damaged_file_is_named_with_the_way_out(pictures, exemplar_folder, model, tmp_path):
    spec = spec_of(pictures, exemplar_folder, tmp_path / "out", model)
    file = tmp_path / "out" / background.FOLDER / f"{model_digest(str(model))}.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half of it")
    with pytest.raises(StorageError, match=r"safetensors is damaged .*remove it to have it fitted anew"):
        annotate(spec)


def test_too_few_pictures_are_refused_with_the_way_out(pictures, exemplar_folder, model, tmp_path):
    for picture in list(pictures.rglob("*.png"))[3:]:
        picture.unlink()
    with pytest.raises(SpecError, match=r"only 3 pictures .* at least 24 .* leave the key out"):
        annotate(spec_of(pictures, exemplar_folder, tmp_path / "out", model))


def test_a_model_of_another_kind_is_refused(pictures, exemplar_folder, tmp_path):
    with pytest.raises(SpecError, match=r"run\.background is `collection`, and a RehearsalModel learns nothing"):
        annotate(spec_of(pictures, exemplar_folder, tmp_path / "out", "dry-run"))


@pytest.mark.long
def test_a_kill_while_it_is_fitted_leaves_nothing_and_the_next_night_does_the_same(
    pictures, exemplar_folder, model, tmp_path
):
    package = tmp_path / "packages"
    package.mkdir()
    outside.write(package, "killed_toy", TOY, {"tlg.annotators": ["killed = killed_toy:Loader"]})
    path = os.pathsep.join([str(package), str(REPOSITORY)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    environment |= {"TOY_MODEL": str(model), "TOY_FLAG": str(tmp_path / "killed")}
    spec = spec_of(pictures, exemplar_folder, tmp_path / "out", "killed")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    command = [sys.executable, "-m", "jobs.annotate", str(tmp_path / "job.yaml")]

    def night() -> int:
        return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=False).returncode

    assert night() != 0
    assert (tmp_path / "killed").exists()
    assert not (tmp_path / "out" / background.FOLDER).exists()
    assert night() == 0
    undisturbed = spec_of(pictures, exemplar_folder, tmp_path / "undisturbed", model)
    annotate(undisturbed)
    assert kept_file(tmp_path / "out").read_bytes() == kept_file(tmp_path / "undisturbed").read_bytes()
    assert collection.answers(spec.output.uri).equals(collection.answers(undisturbed.output.uri))


@pytest.mark.cluster
@pytest.mark.long
@pytest.mark.usefixtures("local_ray")
def test_a_worker_of_a_cluster_fits_the_same(pictures, exemplar_folder, model, tmp_path):
    on_ray = spec_of(pictures, exemplar_folder, tmp_path / "ray", model)
    annotate(on_ray)
    here = spec_of(pictures, exemplar_folder, tmp_path / "here", model)
    background.fit_and_keep(here, model_digest(str(model)), store.DEFAULT_ACCESS, None)
    assert origin_of(kept_file(tmp_path / "ray")) == origin_of(kept_file(tmp_path / "here"))
    assert set(collection.answers(on_ray.output.uri)["status"].to_pylist()) <= {"mask", "absent"}
