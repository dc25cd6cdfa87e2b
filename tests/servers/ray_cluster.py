"""A real Ray cluster on this machine: a head and workers as processes of their own, token authentication on.

Every process is stopped by its own pid; nothing else that Ray runs here is touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.servers.ports import free_port

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 120
START_ATTEMPTS = 3
Process = subprocess.Popen[bytes]


class NotStarted(Exception):
    """Ray did not come up."""


class RayCluster:
    """`with RayCluster() as cluster`: `address` and `token` reach its job API, `gcs_address` takes drivers."""

    def __init__(
        self,
        workers: int,
        cpus_per_worker: int,
        environment: dict[str, str] | None = None,
        program: Path | None = None,
    ):
        self._program = program or Path(sys.executable).with_name("ray")
        self.token = secrets.token_hex(16)
        self.workers: list[Process] = []
        self._processes: list[Process] = []
        self._worker_count = workers
        self._cpus_per_worker = cpus_per_worker
        self._env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        }

    def __enter__(self) -> RayCluster:
        """Ray gives its processes 30 s to find each other, which a busy machine may not keep: then it tries again."""
        for attempts_left in reversed(range(START_ATTEMPTS)):
            try:
                self._start_head()
                for count in range(1, self._worker_count + 1):
                    self._start_worker(wanted=count + 1)
                break
            except NotStarted:
                self._stop()
                if not attempts_left:
                    raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def kill_worker(self, position: int) -> None:
        """The machine is gone: no process of that worker gets to say goodbye."""
        kill_tree(self.workers[position].pid)

    def alive_nodes(self) -> int:
        answer = self._get("/nodes?view=summary")
        if answer is None:
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in answer["data"]["summary"])

    def _start_head(self) -> None:
        gcs_port, dashboard_port = free_port(), free_port()
        self.address, self.gcs_address = f"http://127.0.0.1:{dashboard_port}", f"127.0.0.1:{gcs_port}"
        # Short: Ray's sockets below it have at most 107 characters.
        self._folder = tempfile.mkdtemp(prefix="rc")
        self._start(
            "--head",
            f"--port={gcs_port}",
            f"--dashboard-port={dashboard_port}",
            "--dashboard-host=127.0.0.1",
            "--include-dashboard=true",
            f"--ray-client-server-port={free_port()}",
            "--num-cpus=0",
        )
        self._wait_for(lambda: self._get("/api/version") is not None)

    def _start_worker(self, wanted: int) -> None:
        worker = self._start(f"--address={self.gcs_address}", f"--num-cpus={self._cpus_per_worker}")
        self.workers.append(worker)
        self._wait_for(lambda: self.alive_nodes() >= wanted)

    def _start(self, *options: str) -> Process:
        command = [str(self._program), "start", "--block", "--disable-usage-stats", *options]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--metrics-export-port={free_port()}"]
        # As on machines of their own: of one folder each node would make a job's working directory anew while the job
        # reads it for another.
        own = Path(self._folder) / str(len(self._processes))
        own.mkdir()
        command.append(f"--temp-dir={own}")
        with open(Path(self._folder) / f"start-{len(self._processes)}.log", "wb") as log:
            process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log, cwd=self._folder)
        self._processes.append(process)
        return process

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if any(process.poll() is not None for process in self._processes) or time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-1500:] for path in sorted(Path(self._folder).glob("start-*.log")))
                raise NotStarted(f"Ray did not start:\n{logs}")
            time.sleep(0.2)

    def _stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()  # `ray start --block` stops what it started
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                kill_tree(process.pid)
        self._processes, self.workers = [], []
        shutil.rmtree(self._folder, ignore_errors=True)

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            answer = httpx.get(self.address + path, headers={"Authorization": f"Bearer {self.token}"}, timeout=10)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None


def kill_tree(pid: int) -> None:
    """SIGKILL a process and everything below it, found by parent pids."""
    for child in _children(pid):
        kill_tree(child)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _children(pid: int) -> list[int]:
    try:
        lists = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    except FileNotFoundError:
        return []
    return [int(child) for children in lists for child in children]
