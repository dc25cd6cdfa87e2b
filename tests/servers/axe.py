"""axe-core, the accessibility checker, for tests alone: fetched once by npm into `.cache`."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.servers.browser import Browser
from tests.servers.environments import CACHE

VERSION = "4.14.1"
SECONDS = 120
RUN = """
const done = arguments[arguments.length - 1];
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const failed = (error) => done([{id: 'failed', impact: 'critical', nodes: [], help: String(error)}]);
axe.run(document, {resultTypes: ['violations'], runOnly: rules}).then((found) => done(found.violations), failed);
"""


class Unavailable(Exception):
    """The checker is not here and cannot be had; the text is the reason to skip a test."""


def source() -> str:
    """The script, as a page runs it."""
    folder = CACHE / f"axe-core-{VERSION}"
    script = folder / "package" / "axe.min.js"
    if not script.exists():
        _fetch(folder)
    return script.read_text("utf-8")


def violations(browser: Browser, script: str) -> list[str]:
    """What axe finds on the page as it is now, each as `impact id: help, where`."""
    browser.driver.execute_script(script)
    found: list[dict[str, Any]] = browser.driver.execute_async_script(RUN)
    return [
        f"{one['impact']} {one['id']}: {one['help']}, {node['target']} {node.get('failureSummary', '')[:200]}"
        for one in found
        for node in one["nodes"][:3] or [{"target": ""}]
    ]


def _fetch(folder: Path) -> None:
    if not shutil.which("npm"):
        raise Unavailable("npm, which fetches axe-core, is missing")
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm pack axe-core took longer than {SECONDS} s") from None
    if done.returncode:
        raise Unavailable(f"npm pack axe-core failed: {done.stderr[-200:]}")
    with tarfile.open(folder / f"axe-core-{VERSION}.tgz") as archive:
        archive.extract("package/axe.min.js", folder, filter="data")
