"""Environments of their own for programs whose dependencies clash with the product's: in `.cache`, made once."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"


class Unavailable(Exception):
    """The environment cannot be made here; the text is the reason to skip a test."""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The folder of programs (python among them) of `.cache/name`; made on first use, by one process at a time."""
    home = CACHE / name
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = home / ".installed"
        if not stamp.exists() or stamp.read_text() != "\n".join(requirements):
            beside = Path(sys.executable).parent / "uv"
            uv = str(beside) if beside.exists() else shutil.which("uv")
            if uv is None:
                raise Unavailable(f"uv is not installed, so an environment of its own for {name} cannot be made")
            _run(name, uv, "venv", "--quiet", "--clear", "--python", sys.executable, home)
            _run(name, uv, "pip", "install", "--quiet", "--python", home / "bin" / "python", *requirements)
            stamp.write_text("\n".join(requirements))
    return home / "bin"


def _run(name: str, *command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{name} cannot be installed: {' '.join(done.stderr.split())[-500:]}")
