"""Ray's job API over plain HTTP: no Ray is imported, so a laptop, a pod or the endpoint can speak it alike."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import httpx

from tlg.errors import ClusterError

JobStatus = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
LIVE: tuple[JobStatus, ...] = ("PENDING", "RUNNING")
TOKEN_HELP = "RAY_AUTH_TOKEN, or a file named by RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token"


@dataclass(frozen=True)
class JobState:
    """What the cluster says about one submitted job."""

    id: str
    status: JobStatus
    message: str = ""
    exit_code: int | None = None
    started_at: float | None = None  # seconds since the epoch
    ended_at: float | None = None
    output: str | None = None

    @property
    def live(self) -> bool:
        return self.status in LIVE


class JobApi:
    """One cluster's job API. Every failure is a ClusterError that says what to do."""

    def __init__(self, address: str):
        if not address.startswith(("http://", "https://")):
            raise ClusterError(f"address {address!r}: expected the dashboard's address, like http://head:8265")
        self.address = address.rstrip("/")
        token = auth_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self.address, headers=headers, timeout=httpx.Timeout(60, connect=10))

    def __enter__(self) -> JobApi:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def jobs(self) -> list[JobState]:
        """Every submitted job that the head remembers, oldest first."""
        states = [_state(item) for item in self._call("GET", "/api/jobs/").json() if item.get("submission_id")]
        return sorted(states, key=lambda job: job.started_at or float("inf"))

    def job(self, job_id: str) -> JobState:
        return _state(self._call("GET", f"/api/jobs/{job_id}", job_id=job_id).json())

    def logs(self, job_id: str) -> str:
        return str(self._call("GET", f"/api/jobs/{job_id}/logs", job_id=job_id).json()["logs"])

    def stop(self, job_id: str) -> bool:
        """Ask a job to stop; False if it was not running."""
        return bool(self._call("POST", f"/api/jobs/{job_id}/stop", job_id=job_id).json()["stopped"])

    def put_package(self, name: str, content: bytes) -> str:
        """Upload a zip unless the head has it; the answer is its URI, fit for `working_dir`."""
        path = f"/api/packages/gcs/{name}"
        if self._send("GET", path).status_code != 200:
            self._call("PUT", path, content=content)
        return f"gcs://{name}"

    def submit(self, job_id: str, entrypoint: str, working_dir: str, metadata: dict[str, str]) -> bool:
        """Start a job; False if the id is taken, which the head decides atomically."""
        request = {
            "submission_id": job_id,
            "entrypoint": entrypoint,
            "runtime_env": {"working_dir": working_dir},
            "metadata": metadata,
        }
        answer = self._send("POST", "/api/jobs/", json=request)
        if answer.status_code == 500 and "already exists" in answer.text:
            return False
        self._accept(answer, None)
        return True

    def _call(self, method: str, path: str, job_id: str | None = None, **arguments: Any) -> httpx.Response:
        answer = self._send(method, path, **arguments)
        self._accept(answer, job_id)
        return answer

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise ClusterError(
                f"{self.address}: cannot be reached ({error or type(error).__name__}); check that the head runs and "
                "that its dashboard port (8265 by default) is open or forwarded to here"
            ) from None
        if answer.status_code == 401:
            raise ClusterError(f"{self.address}: the cluster asks for a token and none was found; set {TOKEN_HELP}")
        if answer.status_code == 403:
            raise ClusterError(
                f"{self.address}: the cluster refuses the token; it must be the one the head was started with, "
                f"given in {TOKEN_HELP}"
            )
        return answer

    def _accept(self, answer: httpx.Response, job_id: str | None) -> None:
        if answer.is_success:
            return
        if answer.status_code == 404 and job_id:
            raise ClusterError(f"{self.address}: no job {job_id}; `tlg jobs list` shows those the head remembers")
        last_line = (answer.text.strip().splitlines() or [""])[-1][:300]
        raise ClusterError(f"{self.address}: {answer.request.url.path} answered {answer.status_code}: {last_line}")


def auth_token() -> str | None:
    """The token where Ray itself looks for it; None where there is none or Ray's authentication is off."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        if named:
            raise ClusterError(f"RAY_AUTH_TOKEN_PATH names {named}, which does not exist") from None
        return None


def _state(item: dict[str, Any]) -> JobState:
    return JobState(
        id=item["submission_id"],
        status=item["status"],
        message=item.get("message") or "",
        exit_code=item.get("driver_exit_code"),
        started_at=_seconds(item.get("start_time")),
        ended_at=_seconds(item.get("end_time")),
        output=(item.get("metadata") or {}).get("output"),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return milliseconds / 1000 if milliseconds else None
