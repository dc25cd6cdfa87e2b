"""A command says what ended it, whatever that was; real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from jobs.annotate import annotate
from jobs.output import runs, shards
from tests.jobs import collection
from tests.jobs.test_kills import ENVIRONMENT, PACE, ours

REPOSITORY = Path(__file__).parents[2]
RAY_SAYS = "[2026-11-26 10:43:16,240 E 22652 22652] core_worker.cc:2465: Actor has constructor arguments"
PROGRAM = """
import os, signal, sys, time
from jobs.supervisor import supervised
from tlg.errors import SpecError, TlgError

def work():
{work}

try:
    sys.exit(supervised(work, lambda: print("after the loss", flush=True)))
except TlgError as error:
    print(f"error: {{error}}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def command(*lines):
    return [sys.executable, "-c", PROGRAM.format(work="\n".join(f"    {line}" for line in lines))]


def ended(*lines):
    return subprocess.run(command(*lines), cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def test_what_is_returned_printed_and_raised_arrives():
    told = ended("print('out')", "print('err', file=sys.stderr)", "return 7")
    assert (told.returncode, told.stdout, told.stderr) == (7, "out\n", "err\n")
    told = ended("raise SpecError('no such thing')")
    assert (told.returncode, told.stderr) == (2, "error: no such thing\n")
    told = ended("return [][0]")
    assert told.returncode == 1
    assert "IndexError" in told.stderr


def test_a_process_that_ray_ends_is_an_error_of_the_cluster():
    """Ray leaves with code 1 from inside of its own library: nothing of Python is asked."""
    told = ended("os._exit(1)")
    assert (told.returncode, told.stdout) == (8, "after the loss\n")
    assert "what is committed stays, run again to go on" in told.stderr
    assert ended("os.abort()").returncode == 8


def test_a_killed_process_is_told_as_a_shell_tells_it():
    told = ended("os.kill(os.getpid(), signal.SIGKILL)")
    assert (told.returncode, told.stdout) == (128 + signal.SIGKILL, "")
    assert "ended with SIGKILL" in told.stderr


def test_lines_of_ray_s_libraries_do_not_reach_the_screen():
    told = ended(f"os.write(2, b'{RAY_SAYS}\\nSegmentation fault\\n')", "return 0")
    assert (told.returncode, told.stderr) == (0, "Segmentation fault\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_handed_on_and_the_end_is_waited_for(number):
    # Python leaves Ctrl-C ignored where whoever started it had it ignored, as a shell does in the background.
    lines = [f"signal.signal({int(number)}, signal.default_int_handler)", "try:", "    print('ready', flush=True)"]
    lines += ["    time.sleep(60)", "except KeyboardInterrupt:", "    print('tidied', flush=True)", "    return 5"]
    process = subprocess.Popen(command(*lines), cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate()[0] == "tidied\n"
    assert process.returncode == 5


def test_nothing_is_left_of_a_command_that_is_killed():
    lines = ["print(os.getpid(), flush=True)", "time.sleep(60)"]
    process = subprocess.Popen(command(*lines), cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.kill()
    assert process.stdout.read() == ""  # whoever could still print there has gone
    process.wait()
    while Path(f"/proc/{child}").exists() and not is_dead(child):
        time.sleep(0.01)


def is_dead(pid):
    """Gone but for its parent, who has not asked yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.cluster
@pytest.mark.long
@pytest.mark.parametrize("victim", ["raylet/raylet", "gcs_server"])
def test_a_job_that_loses_ray_leaves_with_8_and_closes_its_record(victim, exemplar_folder, tmp_path):
    images, out = collection.write(tmp_path / "images", 160), str(tmp_path / "out")
    workers = {"min": 2, "max": 2}
    spec = collection.spec(str(images), exemplar_folder, out, model=PACE, workers=workers)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(exclude={"deploy"})))
    job = [sys.executable, "-m", "jobs.annotate", str(file)]
    driver = subprocess.Popen(job, cwd=REPOSITORY, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while not shards.committed(out):
        assert driver.poll() is None
        time.sleep(0.02)
    for pid in ours(victim, driver.pid):  # not of a Ray that other tests have left
        os.kill(pid, signal.SIGKILL)
    _, said = driver.communicate()
    assert driver.returncode == 8, said
    assert "what is committed stays, run again" in said
    assert ".cc:" not in said
    assert runs.recorded(out, last=1)[0]["state"] == "failed"
    left = annotate(spec.model_copy(update={"workers": spec.workers.model_copy(update={"min": 1, "max": 1})}))
    assert 0 < left.images < 160
    collection.assert_each_once(collection.answers(out))
    assert len(collection.answers(out)) == 2 * 160
