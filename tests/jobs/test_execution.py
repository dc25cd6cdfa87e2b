"""Who runs a job: one process of this machine or Ray, and the rows are the same."""

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from jobs.annotate import annotate
from jobs.flow import execution, progress, room
from jobs.flow.here import Here
from jobs.flow.stages import Stages
from jobs.flow.work import Work
from jobs.output.aside import Aside
from jobs.output.runs import RunSummary
from tests.jobs import collection, odd_files
from tests.jobs.test_stages import work_of
from tlg import exemplars, store
from tlg.annotators.protocol import AnnotateParams
from tlg.answers.records import Provenance
from tlg.errors import SpecError
from tlg.pictures import guarded
from tlg.spec import WorkersSpec

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.cluster
@pytest.mark.parametrize("model", ["dry-run", pytest.param("tlg-tiny", marks=pytest.mark.long)])
def test_rows_are_the_same_here_and_on_ray(model, exemplar_folder, tmp_path, local_ray):
    """Odd and broken files, objects; the network too."""
    odd_files.write(tmp_path / "images")
    collection.write(tmp_path / "images", 20)
    outputs = [tmp_path / "ray", tmp_path / "here"]
    for output in outputs:
        asked = {"output": {"uri": str(output), "objects": True}, "run": {"max_error_rate": 1.0}, "model": model}
        spec = collection.spec(str(tmp_path / "images"), exemplar_folder, str(output), **asked)
        if output.name == "ray":
            annotate(spec)  # a Ray that runs is used
        else:
            said = ended_without_ray(spec, tmp_path)
            assert re.search(r"starting \d+ workers?\n", said)
            assert "first answers after" in said
    on_ray, here = (collection.answers(str(output)).sort_by(ROW_ORDER) for output in outputs)
    assert here.equals(on_ray)


ROW_ORDER = [("image_uri", "ascending"), ("class_id", "ascending"), ("part", "ascending")]


def ended_without_ray(spec, tmp_path):
    """What a job in a process of its own says, where Ray cannot be imported."""
    (tmp_path / "no_ray").mkdir()
    (tmp_path / "no_ray" / "ray.py").write_text("raise ImportError('a small job needs no Ray')")
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    path = os.pathsep.join([str(tmp_path / "no_ray"), str(REPOSITORY)])
    ended = subprocess.run(
        [sys.executable, "-m", "jobs.annotate", str(file)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    ("workers", "address", "named", "here"),
    [
        ({}, None, None, True),
        ({"max": 2}, None, None, False),
        ({"gpus": 0.5}, None, None, False),
        ({"memory_gb": 1}, None, None, False),
        ({"cpus": 1000}, None, None, False),
        ({}, "ray://head:10001", None, False),
        ({}, None, "10.0.0.1:6379", False),
    ],
)
def test_ray_runs_what_asks_for_more_than_a_process(workers, address, named, here, monkeypatch):
    monkeypatch.setattr(execution, "_ray_runs", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named:
        monkeypatch.setenv("RAY_ADDRESS", named)
    assert execution.fits_here(WorkersSpec(**workers), address) is here


@pytest.fixture
def stages(exemplar_folder, tmp_path):
    spec = collection.spec(str(collection.write(tmp_path / "images", 12)), exemplar_folder, str(tmp_path / "out"))
    provenance = Provenance("m", "e", "p", "r")
    aside = Aside(str(tmp_path / "aside"), store.DEFAULT_ACCESS)
    loaded = exemplars.load(str(exemplar_folder))
    return Stages(spec, loaded, AnnotateParams(), provenance, store.DEFAULT_ACCESS, aside)


def introduced(stages):
    here = Here(stages.spec)
    here.introduce(stages)
    return here


def test_a_large_collection_is_ray_s_although_a_worker_was_started(stages, monkeypatch):
    started = []
    monkeypatch.setattr(execution, "fits_here", lambda *_: True)
    monkeypatch.setattr(execution.pipeline, "ray_session", lambda *_: contextlib.nullcontext())
    with execution.Execution(stages.spec, None, started.append) as running:
        running.prepare()
        worker = running._here._workers[0]._process
        running.introduce(stages)
        running._chosen(Work("", stages.access, count=execution.MOST_IMAGES_HERE + 1))
        assert worker.poll() is not None
    assert started == ["starting Ray and 1 worker"]


def test_a_gpu_that_lies_idle_is_told(stages, tmp_path, monkeypatch, caplog):
    (tmp_path / "gpus" / "0000:3b:00.0").mkdir(parents=True)
    monkeypatch.setattr(execution, "GPUS", tmp_path / "gpus")
    with execution.Execution(stages.spec, None, print) as running:
        running._start_here()
    assert "1 GPUs are here and workers.gpus is 0" in caplog.text


def test_the_rows_aside_are_those_that_the_receipts_say(stages, tmp_path):
    work = work_of(stages.spec, tmp_path)
    here = introduced(stages)
    try:
        first, *rest = list(here.receipts(work, work.units(4)))
    finally:
        here.close()
    assert here._workers[0]._process.poll() is not None
    assert first["position"].to_pylist() == [0]  # one picture goes ahead
    receipts = pa.concat_tables([first, *rest]).to_pylist()
    assert sorted(one["position"] for one in receipts) == list(range(12))
    for one in receipts:
        rows = pq.read_table(f"{stages.aside.folder}/{one['aside']}").to_pylist()
        own = [row for row in rows if row["image_uri"] == one["uri"]]
        assert (len(own), one["masks"], one["absent"]) == (2, 1, 1) == (one["rows"], 1, 1)
        assert len({row["image_uri"] for row in rows}) == one["together"]


@pytest.mark.parametrize("killed", [False, True])
def test_every_process_answers_and_the_death_of_one_costs_nothing(stages, tmp_path, killed, monkeypatch):
    monkeypatch.setattr("jobs.flow.here.processes", lambda *_: 3)
    work = work_of(stages.spec, tmp_path)
    here = introduced(stages)
    try:
        tables = here.receipts(work, work.units(2))
        receipts = [next(tables)]
        assert len(here._workers) == 3
        if killed:
            victim = here._workers[1]._process
            victim.kill()
            victim.wait()
        receipts += tables
        assert all(not worker.at_work for worker in here._workers)
    finally:
        here.close()
    assert {row["position"] for table in receipts for row in table.to_pylist()} == set(range(12))


@pytest.mark.parametrize(
    ("workers", "images", "count"),
    [
        ({}, 1000, 6),
        ({}, 60, 2),
        ({}, 10, 1),
        ({"cpus": 3}, 1000, 2),
        ({"max": 1}, 1000, 1),
    ],
)
def test_there_are_as_many_processes_as_cores_memory_and_pictures_are_for(workers, images, count, monkeypatch):
    monkeypatch.setattr(room, "cores", lambda: 8)
    monkeypatch.setattr(room, "free_memory", lambda: 13 * 2**30)
    assert room.processes(WorkersSpec(**workers), images) == count


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({}, 4, 2**62),
        ({"cpu.max": "150000 100000", "memory.max": "3000", "memory.current": "1000"}, 2, 2000),
        ({"cpu.max": "max 100000", "memory.max": "max", "memory.current": "1000"}, 4, 2**62),
    ],
)
def test_a_container_s_limits_count(files, cores, memory, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(room, "CONTAINER", tmp_path)
    monkeypatch.setattr(room, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert (room.cores(), room.free_memory()) == (cores, memory)
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       1 kB\n")
    assert room.free_memory() == min(memory, 1024)


def test_an_error_of_the_worker_s_is_raised_as_it_is(stages, tmp_path):
    stages = replace(stages, spec=stages.spec.model_copy(update={"model": "dry-run:soon"}))
    here = introduced(stages)
    work = work_of(stages.spec, tmp_path)
    try:
        with pytest.raises(SpecError, match="expected dry-run or dry-run:SECONDS_PER_IMAGE") as caught:
            list(here.receipts(work, work.units(4)))
    finally:
        here.close()
    assert "here_process.py" in str(caught.value.__cause__)


def test_whoever_waits_is_told_for_what_and_how_long(monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.01)
    stream, now = io.StringIO(), [0.0]
    looks = []

    def clock():
        looks.append(now[0])
        return now[0]

    told = progress.Progress(RunSummary("r", "job", "out", images=9), stream, clock=clock)
    told.wait("starting 2 workers")
    now[0] = 4.0
    while "starting 2 workers, 4 s" not in stream.getvalue():
        time.sleep(0.001)
    now[0] = 120.0
    while looks.count(120.0) < 5:
        time.sleep(0.001)
    told.update(1)
    assert stream.getvalue().count("starting 2 workers, 2 min\n") == 1
    assert "first answers after 2 min\n" in stream.getvalue()
    lines = len(stream.getvalue().splitlines())
    told.close()
    assert len(stream.getvalue().splitlines()) == lines


def test_a_picture_that_holds_its_decoder_up_is_a_row(stages, tmp_path, slow, monkeypatch):
    monkeypatch.setattr(guarded, "SECONDS", 0.3)
    (tmp_path / "images" / "0" / "bomb.jpg").write_bytes(slow)
    work = work_of(stages.spec, tmp_path)
    here = introduced(stages)
    try:
        rows = [row for table in here.receipts(work, work.units(4)) for row in table.to_pylist()]
    finally:
        here.close()
    kinds = {row["uri"].rsplit("/", 1)[1]: row["error_type"] for row in rows}
    assert kinds["bomb.jpg"] == "too_slow"
    assert len(kinds) == 13
