"""Is the release one? Built, installed into an empty environment of each Python, and used from an empty folder.

`python tests/release/check.py` (or `make release-check`) takes minutes and, for each Python, a few GB on first use.
Archives and the list of what is in them (CycloneDX) stay in build/release.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers.ports import free_port  # noqa: E402

RELEASE = ROOT / "build" / "release"
UV = Path(sys.executable).with_name("uv")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SBOM_TOOL = "cyclonedx-bom==7.5.0"
SERVE_SECONDS = 240
# What an extra is for can be imported where it is installed.
EXTRAS = {
    "train": "tensorboard",
    "gcs": "gcsfs",
    "azure": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "cvat": "deploy.connectors.cvat, cvat_cli",
    "traces": "opentelemetry.exporter.otlp.proto.http",
}
SPEC = """name: release
images: {uri: "s3://bucket/images/"}
exemplars: "names://coffee cup"
output: {uri: "s3://bucket/answers/"}
"""


class Installed:
    """The wheel in an environment of its own, used from `folder`, which holds nothing else."""

    def __init__(self, home: Path, folder: Path):
        self._home, self.folder = home, folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RAY_", "VIRTUAL"))}
        self._environment = {**kept, "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        self._environment["RAY_USAGE_STATS_ENABLED"] = "0"

    def tlg(self, *arguments: str) -> str:
        return _run(self._home / "bin" / "tlg", *arguments, cwd=self.folder, env=self._environment)

    def python(self, program: str, *arguments: str) -> str:
        return _run(self._home / "bin" / "python", "-c", program, *arguments, cwd=self.folder, env=self._environment)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(self._home / "bin" / "tlg"), *arguments]
        with (self.folder / "serve.log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=log, stderr=log)


def version(installed: Installed) -> str:
    said = installed.tlg("--version").strip()
    assert said in (ROOT / "pyproject.toml").read_text(), said
    return said


def demo(installed: Installed) -> str:
    installed.tlg("demo")
    assert (installed.folder / "demo" / "answers" / "report" / "index.html").exists()
    return "report written"


def annotate(installed: Installed) -> str:
    """Ten pictures of the drawn collection, none of them damaged."""
    asked = ["--images", "demo/images", "--exemplars", "demo/exemplars", "--out", "again"]
    installed.tlg("annotate", *asked, "--set", "images.pattern=01*.jpg")
    shards = list((installed.folder / "again" / "annotations").glob("*.parquet"))
    assert shards
    return f"{len(shards)} shards by the default model"


def serve(installed: Installed) -> str:
    """The endpoint answers a picture with the classes that were stored before."""
    port = free_port()
    process = installed.start("serve", "--port", str(port))
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", installed.folder / "serve.log")
        return _asked(installed, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def render(installed: Installed) -> str:
    (installed.folder / "job.yaml").write_text(SPEC)
    for target in ("rayjob", "compose"):
        assert "tlg:latest" in installed.tlg("render", "job.yaml", "--target", target)
    return "rayjob and compose"


STEPS: tuple[Callable[[Installed], str], ...] = (version, demo, annotate, serve, render)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + SERVE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"the endpoint did not start:\n{log.read_text()[-3000:]}")


def _asked(installed: Installed, port: int) -> str:
    """By the installed client: this script knows only the standard library."""
    pictures = sorted((installed.folder / "demo" / "exemplars").glob("[!_]*/*"))
    program = (
        "import sys; from pathlib import Path; from tlg.client import Client\n"
        "url, exemplar, query = sys.argv[1:]\n"
        "client = Client(url)\n"
        "client.put_exemplar_set('release', {Path(exemplar).parent.name: [Path(exemplar)]})\n"
        "print([(row.class_name, row.status) for row in client.annotate(Path(query), 'release').rows])\n"
    )
    arguments = [f"http://127.0.0.1:{port}", str(pictures[0]), str(pictures[1])]
    return installed.python(program, *arguments).strip()


def build() -> Path:
    """The source archive, and the wheel made of it."""
    shutil.rmtree(RELEASE, ignore_errors=True)
    _run(UV, "build", "--quiet", "--out-dir", RELEASE, ROOT)
    (wheel,) = RELEASE.glob("*.whl")
    (RELEASE / ".gitignore").unlink(missing_ok=True)
    return wheel


def check(python: str, interpreter: str, wheel: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="release") as folder:
        home, empty = Path(folder) / "environment", Path(folder) / "empty"
        empty.mkdir()
        _run(UV, "venv", "--quiet", "--python", interpreter, home)
        _install(home, str(wheel))
        installed = Installed(home, empty)
        for step in STEPS:
            start = time.monotonic()
            print(f"{python}  {step.__name__:9} {step(installed)}  ({time.monotonic() - start:.0f} s)", flush=True)
        sbom = RELEASE / f"sbom-python{python}.json"
        tool = [UV, "tool", "run", "--quiet", "--from", SBOM_TOOL, "cyclonedx-py", "environment"]
        _run(*tool, home / "bin" / "python", "--output-file", sbom)
        print(f"{python}  sbom      {sbom.relative_to(ROOT)}, {sbom.stat().st_size:,} bytes", flush=True)
        _install(home, f"{wheel}[{','.join(EXTRAS)}]")
        installed.python(f"import {', '.join(EXTRAS.values())}")
        print(f"{python}  extras    {', '.join(EXTRAS)}", flush=True)


def _install(home: Path, wheel: str) -> None:
    constraints = ["--constraint", ROOT / "constraints.txt"]
    _run(UV, "pip", "install", "--quiet", "--python", home / "bin" / "python", *constraints, wheel)


def _run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, env=env)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def _found(python: str) -> str | None:
    """Where this version is; pyenv shows one of its versions alone, so its folder is looked at as well."""
    found = subprocess.run(
        [UV, "python", "find", "--no-python-downloads", python], capture_output=True, text=True, check=False
    )
    if found.returncode == 0:
        return found.stdout.strip()
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next((str(one) for one in sorted(versions.glob(f"{python}.*/bin/python3"))), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="only this version; may be repeated")
    asked = parser.parse_args().python or PYTHONS
    wheel = build()
    for python in asked:
        if interpreter := _found(python):
            check(python, interpreter, wheel)
        else:
            print(f"{python}  not here: no such Python on this machine")


if __name__ == "__main__":
    main()
