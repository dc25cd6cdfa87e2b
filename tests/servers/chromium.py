"""A real browser for tests: the distribution's Chromium and its driver.

Where they are missing and the tests run as root on Debian, as on a bare CI machine, they are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

PACKAGES = ("chromium", "chromium-driver")
INSTALL_SECONDS = 600
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq")


class Unavailable(Exception):
    """There is no browser here; the text is the reason to skip a test."""


@dataclass(frozen=True)
class Chromium:
    browser: str
    driver: str


def find_or_install() -> Chromium:
    found = _found()
    if found is None:
        _install()
        found = _found()
    if found is None:
        raise Unavailable(f"{' and '.join(PACKAGES)} were installed and gave no programs of these names")
    return found


def _found() -> Chromium | None:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return Chromium(browser, driver) if browser and driver else None


def _install() -> None:
    missing = f"{' and '.join(PACKAGES)} are missing"
    if not shutil.which("apt-get"):
        raise Unavailable(f"{missing}, and there is no apt-get to install them")
    if os.geteuid():
        raise Unavailable(f"{missing}; `apt-get install {' '.join(PACKAGES)}` as root brings them")
    for step in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
        try:
            done = subprocess.run(
                [*APT, *step],
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_SECONDS,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{missing}; apt-get {step[0]} took longer than {INSTALL_SECONDS} s") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-300:]
            raise Unavailable(f"{missing}; apt-get {step[0]} failed: {said}")
