"""The real Label Studio from the Python registry, in an environment of its own, with a database of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.servers.environments import CACHE, environment
from tests.servers.ports import free_port
from tests.servers.program import listening

REQUIREMENTS = ("label-studio==1.23.2",)
LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"
# The first start makes hundreds of tables, which takes minutes; later ones begin with a copy.
EMPTY_DATABASE = CACHE / "label-studio-1.23.2.sqlite3"
START_SECONDS = 540


@dataclass(frozen=True)
class LabelStudio:
    """`api` asks it as its administrator does."""

    url: str
    api: httpx.Client
    _tokens: list[str] = field(default_factory=list)

    def post(self, path: str, **content: Any) -> Any:
        answer = self.api.post(path, **content)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.api.get(path, params=parameters)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def personal_token(self) -> str:
        """A person has one at a time, and sees it once."""
        if not self._tokens:
            self.post("/api/jwt/settings", json={"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
            self._tokens.append(self.post("/api/token/", json={})["token"])
        return self._tokens[0]

    def project(self, label_config: str, pictures: list[bytes]) -> int:
        number = self.post("/api/projects/", json={"title": "foxes", "label_config": label_config})["id"]
        for position, picture in enumerate(pictures):
            self.post(f"/api/projects/{number}/import", files={"file": (f"{position}.png", picture, "image/png")})
        return number


@contextlib.contextmanager
def label_studio() -> Iterator[LabelStudio]:
    program = environment("label-studio", REQUIREMENTS) / "label-studio"
    CACHE.mkdir(exist_ok=True)
    with EMPTY_DATABASE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not EMPTY_DATABASE.exists():
            with _started(program) as (_, folder):
                shutil.copy(folder / "label_studio.sqlite3", EMPTY_DATABASE.with_suffix(".new"))
            EMPTY_DATABASE.with_suffix(".new").rename(EMPTY_DATABASE)
    with _started(program, EMPTY_DATABASE) as (studio, _):
        yield studio


@contextlib.contextmanager
def _started(program: Path, database: Path | None = None) -> Iterator[tuple[LabelStudio, Path]]:
    port = free_port()

    def command(folder: Path) -> list[str | Path]:
        if database:
            shutil.copy(database, folder / "label_studio.sqlite3")
        arguments = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
        return ["env", f"LABEL_STUDIO_BASE_DATA_DIR={folder}", program, *arguments, "--log-level", "ERROR"]

    settings = {
        "PATH": os.environ["PATH"],
        "DJANGO_DB": "sqlite",
        "LABEL_STUDIO_USERNAME": "annotator@example.com",
        "LABEL_STUDIO_PASSWORD": "correct-horse",
        "LABEL_STUDIO_USER_TOKEN": LEGACY_TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        # Its own guard keeps webhooks and models off private networks, and this machine is one.
        "USE_DEFAULT_BANNED_SUBNETS": "false",
    }
    url = f"http://127.0.0.1:{port}"
    with listening(command, port, settings, START_SECONDS) as folder:
        headers = {"Authorization": f"Token {LEGACY_TOKEN}"}
        with httpx.Client(base_url=url, headers=headers, timeout=120, follow_redirects=True) as api:
            yield LabelStudio(url, api), folder
