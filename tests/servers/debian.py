"""Programs of Debian packages, unpacked into `.cache` and not installed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.servers.environments import CACHE, Unavailable


def programs(package: str) -> Path:
    """The folder of a package's programs; fetched on first use, by one process at a time."""
    home = CACHE / f"debian-{package}"
    CACHE.mkdir(exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            if shutil.which("apt-get") is None:
                raise Unavailable(f"{package} is a package of Debian, and this is another system")
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                _run(package, "apt-get", "download", package, folder=folder)
                (archive,) = Path(folder).glob("*.deb")
                _run(package, "dpkg-deb", "-x", str(archive), "unpacked", folder=folder)
                (Path(folder) / "unpacked").rename(home)
    return home / "usr" / "bin"


def _run(package: str, *command: str, folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"Debian's {package} cannot be had: {' '.join(done.stderr.split())[-500:]}")
