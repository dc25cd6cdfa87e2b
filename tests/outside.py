"""A package that somebody else wrote, as it lies in an environment after its installation."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, source: str, entry_points: dict[str, list[str]]
) -> None:
    """`module` with this source, and its entry points by group; both are gone after the test."""
    write(folder, module, source, entry_points)
    monkeypatch.syspath_prepend(str(folder))
    # What is set here is taken away after the test, and with it the module.
    monkeypatch.setitem(sys.modules, module, sys)
    del sys.modules[module]


def write(folder: Path, module: str, source: str, entry_points: dict[str, list[str]]) -> None:
    """The files that an installer leaves in `folder`."""
    (folder / f"{module}.py").write_text(dedent(source))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    groups = [f"[{group}]\n" + "\n".join(entries) for group, entries in entry_points.items()]
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
