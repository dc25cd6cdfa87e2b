"""What this machine lacks to run the product, and what to do about it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from tlg import exemplars, store
from tlg.errors import TlgError
from tlg.spec import AnnotateSpec, load_annotate_spec
from tlg.store import local_path
from tlg.store.archives import is_archive

OLDEST_PYTHON = (3, 10)
# Who binds them by default: Ray's dashboard and job API, and the endpoint.
PORTS = {8265: "Ray's dashboard and job API", 8000: "the endpoint"}
RAY_SECONDS = 90
RAY_PROGRAM = """
import ray
ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80_000_000, logging_level="ERROR")
assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
ray.shutdown()
"""
SMALLEST_SHARED_MEMORY_GB = 0.2


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `advice` is what to do about it; a finding may be fine and still have advice."""

    subject: str
    ok: bool
    detail: str
    advice: str = ""


def examine(spec_path: str | None = None, address: str | None = None) -> Iterator[Finding]:
    """Every check that applies, as each ends; none of them changes anything that it does not remove again."""
    with ThreadPoolExecutor(1) as pool:
        ray = pool.submit(check_ray)  # it takes longest, in a process of its own
        yield from (check_python(), check_shared_memory())
        yield from (check_port(port, owner) for port, owner in PORTS.items())
        yield check_torch()
        if address is not None:
            yield check_cluster(address)
        yield from _job_checks(spec_path)
        yield ray.result()


def _job_checks(spec_path: str | None) -> Iterator[Finding]:
    if spec_path is None:
        yield check_weights(AnnotateSpec.model_fields["model"].default)
        return
    try:
        spec = load_annotate_spec(spec_path)
    except TlgError as error:
        yield Finding("job spec", False, str(error))
        return
    access = store.Access(spec.storage.endpoint, spec.storage.region)
    yield check_weights(spec.model)
    yield check_exemplars(spec, access)
    yield check_images(spec, access)
    yield check_output(spec.output.uri, access)


def check_python() -> Finding:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", False, detail, "use Python " + ".".join(map(str, OLDEST_PYTHON)) + " or newer")
    return Finding("Python", True, detail)


def check_torch() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("torch", False, "not installed", "install the product with its dependencies: pip install tlg")
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("torch", True, f"{torch.__version__} with {names}; use `workers: {{gpus: 1}}`")
    advice = ""
    if shutil.which("nvidia-smi"):
        advice = f"nvidia-smi is here but torch sees no GPU; its driver must suit CUDA {torch.version.cuda}"
    return Finding("torch", True, f"{torch.__version__} without a GPU", advice)


def check_ray() -> Finding:
    """Starts Ray in a process of its own and runs one task."""
    try:
        installed = version("ray")
    except PackageNotFoundError:
        return Finding("Ray", False, "not installed", 'pip install "ray[serve,data]"')
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    try:
        told = subprocess.run(
            [sys.executable, "-c", RAY_PROGRAM], capture_output=True, text=True, timeout=RAY_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        busy = f"a busy machine (its load is {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores)"
        advice = f"look for {busy}, a full disk below RAY_TMPDIR or /tmp, or too little memory"
        return Finding("Ray", False, f"{installed} did not run a task within {RAY_SECONDS} s", advice)
    if told.returncode != 0:
        reason = (told.stderr.strip().splitlines() or ["no message"])[-1]
        advice = "its logs are in ray/session_latest below RAY_TMPDIR or /tmp"
        return Finding("Ray", False, f"{installed} does not run here: {reason}", advice)
    return Finding("Ray", True, f"{installed} starts and runs a task")


def check_shared_memory() -> Finding:
    try:
        free_gb = shutil.disk_usage("/dev/shm").free / 1e9
    except OSError:
        return Finding("shared memory", True, "no /dev/shm; Ray keeps its objects on disk")
    detail = f"{free_gb:.1f} GB free in /dev/shm"
    if free_gb < SMALLEST_SHARED_MEMORY_GB:
        return Finding("shared memory", False, detail, "give the container more: docker run --shm-size=1g")
    return Finding("shared memory", True, detail)


def check_port(port: int, owner: str) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding(f"port {port}", True, "taken", f"{owner} may run already; else choose another port for it")
    return Finding(f"port {port}", True, f"free for {owner}")


def check_cluster(address: str) -> Finding:
    """Whether a Ray head answers; a token is not needed to see that."""
    import httpx

    try:
        answer = httpx.get(address.rstrip("/") + "/api/gcs_healthz", timeout=10)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        advice = "check that the head runs and that its dashboard port is open or forwarded to here"
        return Finding("cluster", False, f"{address} cannot be reached: {error}", advice)
    if not answer.is_success:
        return Finding("cluster", False, f"{address} answered {answer.status_code}", "expected Ray's dashboard there")
    return Finding("cluster", True, f"{address} answers; `tlg jobs list --address {address}` tries the token")


def check_weights(model: str) -> Finding:
    from tlg.annotators.registry import model_digest

    try:
        return Finding("weights", True, f"{model}: {model_digest(model)}")
    except TlgError as error:
        return Finding("weights", False, str(error), "check the name, folder or URI in `model`")


def check_exemplars(spec: AnnotateSpec, access: store.Access) -> Finding:
    try:
        loaded = exemplars.load(spec.exemplars, access)
    except TlgError as error:
        return Finding("exemplars", False, str(error))
    counts = ", ".join(f"{of_class.name} {len(of_class.exemplars)}" for of_class in loaded.classes)
    return Finding("exemplars", True, f"{counts}; negatives {len(loaded.negatives)}")


def check_images(spec: AnnotateSpec, access: store.Access) -> Finding:
    place = spec.images.uri or spec.images.manifest or ""
    try:
        if spec.images.manifest or store.scheme(place) in ("http", "https"):
            size = len(store.read(place, access))
            return Finding("images", True, f"{place}: readable, {size:,} bytes")
        if is_archive(place):
            return Finding("images", True, f"{place}: there, {store.stat(place, access).size:,} bytes")
        first = next(store.entries(place, spec.images.pattern.partition("#")[0], access), None)
    except TlgError as error:
        return Finding("images", False, str(error))
    if first is None:
        return Finding("images", False, f"{place}: nothing matches {spec.images.pattern}", "check images.pattern")
    return Finding("images", True, f"{place}: readable, the first is {first.uri}")


def check_output(uri: str, access: store.Access) -> Finding:
    """Writes a small object, and sees that the store refuses to create it twice: the lease stands on that."""
    was_there = local_path(uri) is None or os.path.isdir(store.path_in_store(uri))
    probe = store.join(uri if uri.endswith("/") else uri + "/", f".doctor-{uuid.uuid4().hex}")
    try:
        store.create(probe, b"tlg", access)
        twice = store.create(probe, b"tlg", access)
        store.delete(probe, access)
    except TlgError as error:
        return Finding("output", False, str(error))
    if not was_there:
        with contextlib.suppress(OSError):  # a job that has just begun may hold it
            os.rmdir(store.path_in_store(uri))
    if twice:
        advice = "the store must honour If-None-Match; without it, never run two jobs into one output at once"
        return Finding("output", False, f"{uri}: an object could be created twice", advice)
    return Finding("output", True, f"{uri}: writable, and creates an object only once")
