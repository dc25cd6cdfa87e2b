"""Hand a job spec to a Ray cluster. The same spec and exemplars are the same job: it is never started twice.

The spec and the exemplars that lie on this machine travel together as one small package; images, outputs and
models are named by the spec and read on the cluster, with the credentials of the cluster's environment.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import yaml

from jobs.cluster.job_api import JobApi, JobState, JobStatus
from jobs.commands import status as run_status
from jobs.output import runs
from tlg import exemplars, store
from tlg.errors import ClusterError, SpecError, TlgError
from tlg.spec import AnnotateSpec
from tlg.store import local_path

ENTRYPOINT = "python -m jobs.annotate spec.yaml"
PACKAGE_LIMIT_MB = 100
POLL_SECONDS = 2.0
# A driver that dies of a signal has no exit code of its own.
UNKNOWN_FAILURE = TlgError.exit_code


@dataclass(frozen=True)
class SubmittedJob:
    """`created` is False where the job was there already and this call attached to it."""

    id: str
    status: JobStatus
    created: bool


@dataclass(frozen=True)
class Package:
    """A spec with its local exemplars; equal contents have equal digests."""

    files: dict[str, bytes]

    @property
    def digest(self) -> str:
        digest = hashlib.blake2b(digest_size=6)
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    def zipped(self) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(self.files.items()):
                archive.writestr(zipfile.ZipInfo(name), content)
        return stream.getvalue()


def submit(spec: AnnotateSpec, address: str, again: bool = False) -> SubmittedJob:
    """Start the job, or attach to the one that the same spec started before.

    A live job is always attached to. A job that succeeded is attached to unless `again` asks for a new attempt
    (a nightly run); one that failed or was stopped gets a new attempt, which goes on where it left off.
    """
    package = pack(spec)
    base = f"{spec.name}-{package.digest}"
    with JobApi(address) as api:
        latest, attempt = _latest_attempt(api.jobs(), base)
        if latest and (latest.live or (latest.status == "SUCCEEDED" and not again)):
            return SubmittedJob(latest.id, latest.status, created=False)
        job_id = f"{base}-{attempt + 1}"
        working_dir = api.put_package(f"_ray_pkg_{package.digest}.zip", package.zipped())
        created = api.submit(job_id, ENTRYPOINT, working_dir, {"name": spec.name, "output": spec.output.uri})
        return SubmittedJob(job_id, api.job(job_id).status, created)


def status(job_id: str, address: str) -> JobState:
    with JobApi(address) as api:
        return api.job(job_id)


def progress(job: JobState, access: store.Access = store.DEFAULT_ACCESS) -> str | None:
    """How far the job's run is, as its output records it; None before the first record."""
    if job.output is None or job.started_at is None:
        return None
    started = datetime.fromtimestamp(int(job.started_at), timezone.utc)
    newest = runs.recorded(job.output, access, last=1)
    if not newest or datetime.fromisoformat(newest[0]["started_at"]) < started:
        return None
    return run_status.line(newest[0])


def jobs(address: str) -> list[JobState]:
    with JobApi(address) as api:
        return api.jobs()


def logs(job_id: str, address: str) -> str:
    with JobApi(address) as api:
        return api.logs(job_id)


def stop(job_id: str, address: str) -> bool:
    """False if the job was not running any more."""
    with JobApi(address) as api:
        return api.stop(job_id)


def dashboard(job_id: str, address: str) -> str:
    """The job's page in Ray's own dashboard."""
    return f"{address.rstrip('/')}/#/jobs/{job_id}"


def follow(
    job_id: str,
    address: str,
    deadline_seconds: float | None = None,
    show: Callable[[str], None] = print,
    poll_seconds: float = POLL_SECONDS,
) -> JobState:
    """Show the job's log until it ends. Past the deadline, counted from its start, the job is stopped."""
    with JobApi(address) as api:
        shown = 0
        while True:
            job = api.job(job_id)  # before the log, so that the last log read is complete
            shown = _show_news(api, job, shown, show)
            if not job.live:
                return job
            if deadline_seconds and job.started_at and time.time() - job.started_at > deadline_seconds:
                api.stop(job_id)
                raise ClusterError(
                    f"{job_id}: still running after deploy.deadline_seconds = {deadline_seconds:g}, so it was stopped; "
                    "what is committed stays, submitting again goes on from there"
                )
            time.sleep(poll_seconds)


def exit_code(job: JobState) -> int:
    """The job's own exit code (see `tlg.errors`), so that whoever waits can tell why it failed."""
    if job.status == "SUCCEEDED":
        return 0
    return job.exit_code or UNKNOWN_FAILURE


def pack(spec: AnnotateSpec) -> Package:
    """The spec and every exemplar file of this machine. Raises SpecError past PACKAGE_LIMIT_MB."""
    files: dict[str, bytes] = {}
    if local_path(spec.exemplars) is not None:
        described = exemplars.describe(spec.exemplars)
        travelling = _with_packed_files(described, files)
        files["exemplars.yaml"] = _yaml(travelling.model_dump(mode="json", exclude_defaults=True))
        spec = spec.model_copy(update={"exemplars": "exemplars.yaml"})
    files["spec.yaml"] = _yaml(spec.model_dump(mode="json", exclude_defaults=True))
    size_mb = sum(map(len, files.values())) / 1e6
    if size_mb > PACKAGE_LIMIT_MB:
        raise SpecError(
            f"{spec.name}: the exemplars on this machine are {size_mb:.0f} MB, at most {PACKAGE_LIMIT_MB} MB travel "
            "with a job; put them into a bucket and name them by URI"
        )
    return Package(files)


def _with_packed_files(described: exemplars.ExemplarDocument, files: dict[str, bytes]) -> exemplars.ExemplarDocument:
    """The set with every local file put into `files` and referred to by its place there."""

    def packed(uri: str) -> str:
        if local_path(uri) is None:
            return uri
        place = f"exemplars/{len(files):04d}{_suffix(uri)}"
        files[place] = store.read(uri)
        return place

    classes = [
        described_class.model_copy(
            update={
                "exemplars": [
                    ref.model_copy(update={"image": packed(ref.image), "mask": packed(ref.mask) if ref.mask else None})
                    for ref in described_class.exemplars
                ]
            }
        )
        for described_class in described.classes
    ]
    return described.model_copy(update={"classes": classes, "negatives": [packed(uri) for uri in described.negatives]})


def _suffix(uri: str) -> str:
    suffix = re.search(r"\.[A-Za-z0-9]{1,5}$", uri)
    return suffix.group().lower() if suffix else ""


def _yaml(content: object) -> bytes:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def _latest_attempt(known: list[JobState], base: str) -> tuple[JobState | None, int]:
    pattern = re.compile(re.escape(base) + r"-(\d+)")
    attempts = {int(match.group(1)): job for job in known if (match := pattern.fullmatch(job.id))}
    number = max(attempts, default=0)
    return attempts.get(number), number


def _show_news(api: JobApi, job: JobState, shown: int, show: Callable[[str], None]) -> int:
    if job.status == "PENDING":
        return shown
    text = api.logs(job.id)
    if len(text) < shown:  # the head has begun a new file
        shown = 0
    if news := text[shown:].rstrip("\n"):
        show(news)
    return len(text)
