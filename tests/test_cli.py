"""The front door as a whole: its help, its version, and that neither imports what commands need."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tlg.cli import app

COMMANDS = [
    "annotate",
    "demo",
    "diff",
    "doctor",
    "evaluate",
    "exemplars",
    "export",
    "import-checkpoint",
    "jobs",
    "models",
    "plan",
    "prior",
    "prune",
    "push",
    "render",
    "review",
    "schedule",
    "schema",
    "score",
    "serve",
    "status",
    "submit",
    "suggest",
    "train",
    "validate",
]


def test_the_commands_are_these() -> None:
    assert sorted(get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_in_one_short_sentence(command: str) -> None:
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output
    (line,) = [line for line in listed.splitlines() if line.strip().startswith(f"{command} ")]
    assert line.endswith(".")
    assert not line.endswith("...")
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == version("tlg")


def test_help_imports_neither_a_command_nor_rich() -> None:
    code = (
        "import json, sys\nfrom typer.testing import CliRunner\nfrom tlg.cli import app\n"
        "CliRunner().invoke(app, ['--help'])\nprint(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(json.loads(done.stdout)) & {"rich", "torch", "ray", "pyarrow", "numpy", "pydantic", "jobs", "deploy"}


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "tlg", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
