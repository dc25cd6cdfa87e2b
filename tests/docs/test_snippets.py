"""Every command and every line of Python on the pages runs here, or is listed with the reason why it cannot."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.commands.demo import write_demo
from tests.servers.endpoint import Endpoint
from tlg import world
from tlg.cli import app

REPOSITORY = Path(__file__).parents[2]
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("examples/*.md")]
# What comes first makes what the later pages use.
WORKSPACE_PAGES = [
    "README.md",
    "docs/tutorial.md",
    "docs/python.md",
    "docs/answers.md",
    "docs/exports.md",
    "docs/batch.md",
    "docs/sizing.md",
    "docs/label-studio.md",
    "docs/cvat.md",
    "docs/review.md",
]
NOT_RUN = {
    "git clone": "downloads",
    "hf download": "downloads",
    "tlg import-checkpoint": "needs a published checkpoint; tests/hub/test_checkpoint.py imports one",
    "tlg models": "fetches weights; tests/hub/test_models_command.py packs, carries and unpacks a model",
    "tlg annotate job.yaml --set model=models/resnet50": "needs a fetched model",
    "python3 -m venv": "installs; tests/deploy/test_dockerfile.py runs an installation",
    "make": "a target of the Makefile, for minutes to hours",
    "python -m tlg.evaluation.sheets": "needs the answers of an evaluation",
    "python -m tlg.recipes.photo": "trains; tests/recipes/test_photo.py goes through its stages",
    "export": "sets a variable of the caller's shell",
    "curl": "asks a running endpoint, as test_the_endpoint_answers_what_its_page_asks does",
    "tlg review answers --take": "needs a tool's export; tests/review/test_review.py takes both kinds",
    "tlg review answers --pictures 60": "runs until it is stopped; tests/review/test_page.py starts it",
    "tlg push": "needs a labelling tool; tests/deploy/test_push.py and test_label_studio_server.py push to both",
    "tlg exemplars add": "needs a review; tests/review/test_review.py adds its corrections",
    "tlg serve": "runs until it is stopped; tests/deploy/test_served.py starts it",
    "serve run": "needs a Ray cluster; tests/deploy/test_served.py builds the same application",
    "tlg submit": "needs a Ray cluster; tests/jobs/test_submit.py has one",
    "tlg jobs": "needs a Ray cluster; tests/jobs/test_submit.py has one",
    "tlg render": "needs kubectl behind it; tests/deploy/test_manifests.py renders every target",
    "tlg schedule": "needs a scheduler; tests/deploy/test_schedule.py prints every target",
    "tlg doctor": "judges the machine; tests/jobs/test_doctor.py runs it",
    "tlg train": "trains",
    "tlg evaluate": "needs a benchmark's data",
    "kubectl": "needs a Kubernetes cluster",
    "docker": "needs Docker",
    "systemctl": "changes the machine",
    "printf": "writes secrets for docker compose",
    "cvat-cli": "needs CVAT; tests/deploy/test_tool_sdks.py runs its function",
}
ENDPOINT_PAGE = "docs/endpoint.md"


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of some languages, without their indentation."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", text, flags=re.M) for indent, language, text in found if language in languages]


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "sh", "")).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def is_listed(command: str) -> bool:
    return any(command == prefix or command.startswith(f"{prefix} ") for prefix in NOT_RUN)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder: exemplars, photographs, and the tutorial's job."""
    folder = tmp_path_factory.mktemp("workspace")
    rng = np.random.default_rng(5)

    def picture(place: str, shown: str) -> None:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(world.scene(rng, 192, [shown], shown).image).save(folder / place)

    for shown in ("mug", "truck"):
        picture(f"exemplars/{shown}/1.png", shown)
    picture("exemplars/_negatives/1.png", "leaf")
    for number, shown in enumerate(("mug", "truck"), start=1):
        picture(f"photographs/{number}.jpg", shown)
    (job,) = blocks(REPOSITORY / "docs/tutorial.md", "yaml")
    (folder / "job.yaml").write_text(job)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.cluster
@pytest.mark.long
def test_commands_run_in_the_order_of_the_pages(local_ray: None, workspace: Path) -> None:
    for name in WORKSPACE_PAGES:
        for command in commands(REPOSITORY / name):
            if not is_listed(command):
                ended = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
                assert ended.exit_code == 0, f"{name}: {command}\n{ended.output}"
    assert (workspace / "answers/report/index.html").exists()


@pytest.mark.cluster
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in WORKSPACE_PAGES if blocks(REPOSITORY / name, "python")])
def test_python_on_the_pages_runs(local_ray: None, workspace: Path, name: str) -> None:
    if not (workspace / "answers").exists():
        CliRunner().invoke(app, ["annotate", "job.yaml"], catch_exceptions=False)
    names: dict[str, object] = {}
    for block in blocks(REPOSITORY / name, "python"):
        # Ray's workers look where Ray was started, which for a user is the folder of the page's commands.
        anywhere = block.replace('read_images("photographs"', f'read_images("{workspace / "photographs"}"')
        exec(compile(anywhere, name, "exec"), names)


@pytest.mark.cluster
@pytest.mark.long
def test_the_notebook_runs(local_ray: None, workspace: Path) -> None:
    files = write_demo(workspace / "demo", 7, "tlg-tiny")
    for image in sorted(files.images.iterdir())[8:]:
        image.unlink()
    cells = json.loads((REPOSITORY / "examples/notebook.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), "notebook.ipynb", "exec"), names)


@pytest.mark.cluster
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_endpoint_answers_what_its_page_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (
        "exemplars/red fox/1",
        "exemplars/red fox/2",
        "exemplars/_negatives/1",
        "photographs/1",
        "photographs/2",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (200, 120, 60)).save(tmp_path / f"{place}.jpg")
    monkeypatch.chdir(tmp_path)
    curls = [command for command in commands(REPOSITORY / ENDPOINT_PAGE) if command.startswith("curl ")]
    with Endpoint(tmp_path) as endpoint:
        address = endpoint.url.removeprefix("http://")
        for command in curls:
            words = shlex.split(command.replace("localhost:8000", address))
            done = subprocess.run([words[0], "--fail-with-body", *words[1:]], capture_output=True)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        for block in blocks(REPOSITORY / ENDPOINT_PAGE, "python"):
            exec(compile(block.replace("http://127.0.0.1:8000", endpoint.url), ENDPOINT_PAGE, "exec"), {})
    assert len(curls) == 4
    assert Image.open("mask.png").size == (40, 30)


def test_every_command_runs_or_says_why_not() -> None:
    run = {command for name in WORKSPACE_PAGES for command in commands(REPOSITORY / name)}
    left = [
        f"{page.name}: {command}"
        for page in PAGES
        for command in commands(page)
        if not is_listed(command) and not (command in run and command.startswith("tlg "))
    ]
    assert left == []


def test_every_page_with_python_runs_or_says_why_not() -> None:
    pages = {str(page.relative_to(REPOSITORY)) for page in PAGES if blocks(page, "python")}
    assert pages == {name for name in WORKSPACE_PAGES if blocks(REPOSITORY / name, "python")} | {ENDPOINT_PAGE}


def test_every_reason_is_needed() -> None:
    said = [command for page in PAGES for command in commands(page)]
    assert [prefix for prefix in NOT_RUN if not any(command.startswith(prefix) for command in said)] == []
