"""An image that kills its worker is asked alone and then quarantined; a worker that cannot start ends the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from jobs.flow import fetch, ledger, logbook, manifest
from jobs.flow.logbook import Logbook
from jobs.flow.work import plan_work
from jobs.output import quarantine
from tests import outside
from tests.jobs import collection
from tlg import store
from tlg.answers.records import Provenance

REPOSITORY = Path(__file__).parents[2]
COUNT = 20
DEADLY = "3/0010.png"
# A picture of this single colour ends the process that is asked about it, as a driver's fault or the kernel would.
DEADLY_COLOUR = (250, 0, 250)
TOY = f"""
import os
import signal

from tlg.annotators import rehearsal


class Loader(rehearsal.RehearsalLoader):
    def load(self, name, device=None):
        if name == "broken":
            os._exit(1)
        return Model(0.0)


class Model(rehearsal.RehearsalModel):
    def with_exemplars(self, exemplars, params=None):
        return Annotator(self, exemplars, params)


class Annotator(rehearsal.RehearsalAnnotator):
    def annotate(self, pictures, asked=None):
        if any((picture.pixels == {DEADLY_COLOUR}).all() for picture in pictures):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().annotate(pictures, asked)
"""


@pytest.fixture
def environment(tmp_path):
    """A process's, with the toy's package installed."""
    package = tmp_path / "packages"
    package.mkdir()
    outside.write(package, "deadly_toy", TOY, {"tlg.annotators": ["deadly = deadly_toy:Loader"]})
    path = os.pathsep.join([str(package), str(REPOSITORY)])
    return {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": path}


def run_to_its_end(spec, environment, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    command = [sys.executable, "-m", "jobs.annotate", str(file)]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


EVERYWHERE = pytest.mark.parametrize(
    "workers",
    [
        pytest.param({}, id="here"),
        pytest.param({"memory_gb": 0.1}, id="on Ray", marks=[pytest.mark.cluster, pytest.mark.long]),
    ],
)


@EVERYWHERE
def test_an_image_that_kills_its_worker_is_quarantined_and_the_others_are_answered(
    workers, environment, exemplar_folder, tmp_path
):
    images = collection.write(tmp_path / "images", COUNT)
    Image.new("RGB", (40, 40), DEADLY_COLOUR).save(images / DEADLY)
    out = str(tmp_path / "out")
    asked = {"run": {"batch_size": 4}, "workers": workers}
    spec = collection.spec(str(images), exemplar_folder, out, model="deadly:toy", **asked)
    ended = run_to_its_end(spec, environment, tmp_path)
    assert ended.returncode == 0, ended.stderr[-3000:]
    rows = collection.answers(out).to_pylist()
    errors = [(Path(row["image_uri"]).name, row["error_type"]) for row in rows if row["status"] == "error"]
    assert errors == [("0010.png", logbook.KIND)]
    assert len({row["image_uri"] for row in rows}) == COUNT
    assert len(rows) == 2 * (COUNT - 1) + 1
    assert quarantine.read(out, store.DEFAULT_ACCESS)["error_type"].to_pylist() == [logbook.KIND]


@EVERYWHERE
def test_a_worker_that_dies_while_it_starts_ends_the_run(workers, environment, exemplar_folder, tmp_path):
    images = collection.write(tmp_path / "images", 1)
    out = str(tmp_path / "out")
    spec = collection.spec(str(images), exemplar_folder, out, model="deadly:broken", workers=workers)
    ended = run_to_its_end(spec, environment, tmp_path)
    assert ended.returncode == 8, ended.stderr[-3000:]
    assert "a worker's process died 3 times while it loaded the model" in ended.stderr


def answered(book, positions, killer, dead):
    """The turns of a task, None if its process died: what such a process took on is never struck out."""
    generator = logbook.turns(book, "segment", positions)
    turns = []
    for turn in generator:
        if killer in turn.positions and not turn.is_fatal:
            dead.append((generator, turn.positions))
            return None
        turns.append((turn.positions, turn.is_fatal))
    return turns


def test_images_are_asked_alone_after_two_deaths_and_given_up_after_two_more():
    book, dead, turns = Logbook(), [], None
    while turns is None:
        turns = answered(book, [1, 2, 3], 2, dead)
    assert [positions for _, positions in dead] == [[1, 2, 3], [1, 2, 3], [2], [2]]
    assert turns == [([1], False), ([3], False), ([2], True)]


def test_an_image_that_was_in_bad_company_is_answered():
    book, dead = Logbook(), []
    for _ in range(2):
        assert answered(book, [1, 2], 2, dead) is None
    assert answered(book, [1], 2, dead) == [([1], False)]


def test_stages_and_tasks_do_not_answer_for_one_another():
    book = Logbook()
    next(logbook.turns(book, "fetch", [1, 2]))
    assert book.take_on("segment", [1, 2]).together == [1, 2]
    assert book.take_on("segment", [3]).together == [3]


def test_the_fetching_stage_gives_an_image_up_that_kills_it(tmp_path):
    collection.write(tmp_path / "images", 3)
    spec = collection.spec(str(tmp_path / "images"), tmp_path, str(tmp_path / "out"))
    nothing = ledger.load(str(tmp_path / "out"), Provenance("m", "e", "p", "r"))
    work = plan_work(manifest.listed(spec.images), nothing, ["fox"], str(tmp_path / "work"), store.DEFAULT_ACCESS)
    fetcher, dead = fetch.Fetcher(work, store.DEFAULT_ACCESS, 10**6), []
    for _ in range(4):  # each time the process dies at the first image
        images = fetcher._taken(work.read(0, 3).to_pylist())
        next(images)
        dead.append(images)
    kinds = [one.error_type for one in fetcher._taken(work.read(0, 3).to_pylist())]
    assert kinds == [None, None, logbook.KIND]
