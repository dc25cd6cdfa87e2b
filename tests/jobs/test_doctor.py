"""The doctor finds what is wrong, says what to do, and leaves nothing behind."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.commands import doctor
from tlg import store
from tlg.cli import app


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A job that has everything it needs."""
    for name in ("exemplars/fox/1.png", "images/1.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(path)
    path = tmp_path / "job.yaml"
    path.write_text("{name: j, images: {uri: images}, exemplars: exemplars, model: dry-run, output: {uri: out}}")
    return path


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setattr(doctor, "check_ray", lambda: doctor.Finding("Ray", True, "not started here"))


@pytest.mark.usefixtures("no_ray")
def test_a_healthy_job_is_found_healthy_and_untouched(spec):
    before = sorted(spec.parent.rglob("*"))
    findings = list(doctor.examine(str(spec)))
    assert {finding.subject: finding.detail for finding in findings if not finding.ok} == {}
    assert {"exemplars", "images", "output", "weights"} <= {finding.subject for finding in findings}
    assert sorted(spec.parent.rglob("*")) == before


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("right", "wrong", "subject", "said"),
    [
        ("uri: images", "uri: nowhere", "images", "does not exist"),
        ("{uri: images}", "{uri: images, pattern: '*.tif'}", "images", "nothing matches"),
        ("exemplars: exemplars", "exemplars: images", "exemplars", "no exemplars found"),
        ("uri: out", "uri: job.yaml/out", "output", "job.yaml"),
        ("name: j", "nome: j", "job spec", "did you mean 'name'"),
        ("model: dry-run", "model: ./no-such-model", "weights", "no-such-model"),
    ],
)
def test_what_is_wrong_is_named_and_fails_the_command(spec, right, wrong, subject, said):
    spec.write_text(spec.read_text().replace(right, wrong))
    (finding,) = [finding for finding in doctor.examine(str(spec)) if not finding.ok]
    assert finding.subject == subject
    assert said in finding.detail
    assert CliRunner().invoke(app, ["doctor", str(spec)]).exit_code == 1


def test_each_finding_is_told_as_it_comes(monkeypatch):
    """Ray, which takes longest, is waited for last."""
    told = threading.Event()
    monkeypatch.setattr(doctor, "check_ray", lambda: told.wait(60) and doctor.Finding("Ray", True, "waited"))
    subjects = []
    for finding in doctor.examine():
        subjects.append(finding.subject)
        if finding.subject == "weights":
            told.set()
    assert subjects[0] == "Python"
    assert subjects[-1] == "Ray"


def test_an_output_that_a_job_takes_meanwhile_stays(tmp_path, monkeypatch):
    """The probe's own folder goes, and nothing that somebody else put into it."""
    out, delete = tmp_path / "out", store.delete

    def slow_delete(*given):
        delete(*given)
        (out / "_lease").mkdir()

    doctor.check_output(str(out), store.DEFAULT_ACCESS)
    assert not out.exists()
    monkeypatch.setattr(store, "delete", slow_delete)
    doctor.check_output(str(out), store.DEFAULT_ACCESS)
    assert (out / "_lease").exists()


def test_a_store_that_creates_twice_cannot_carry_a_lease(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "create", lambda uri, content, access: store.write(uri, content, access) or True)
    finding = doctor.check_output(str(tmp_path), store.DEFAULT_ACCESS)
    assert not finding.ok
    assert "If-None-Match" in finding.advice
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_has_advice():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        finding = doctor.check_port(holder.getsockname()[1], "the endpoint")
    assert finding.detail == "taken"
    assert "endpoint" in finding.advice


def test_a_cluster_that_is_not_there_is_reported():
    finding = doctor.check_cluster("http://127.0.0.1:1")
    assert not finding.ok
    assert "cannot be reached" in finding.detail


@pytest.mark.cluster
def test_ray_runs_a_task():
    assert doctor.check_ray().ok
