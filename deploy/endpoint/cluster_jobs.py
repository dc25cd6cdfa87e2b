"""Batch jobs through the endpoint: a spec may only name what the endpoint itself may reach."""

from __future__ import annotations

import itertools
import time
from datetime import datetime
from typing import Any

from deploy.endpoint.config import ServeConfig
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore
from deploy.guard.fetch import is_below
from jobs.cluster import submit as cluster
from jobs.commands.status import SILENT_SECONDS
from jobs.output import runs
from tlg import store
from tlg.answers.wire import JobState
from tlg.errors import ClusterError, StorageError
from tlg.exemplars import is_names
from tlg.spec import AnnotateSpec

REPORT = "report/index.html"
MAX_JOBS, MAX_RUNS = 200, 60
# Of so many of the newest jobs the output is read, live or not.
RUNS_READ = 10
RUN_KEYS = (
    "run_id", "state", "message", "started_at", "updated_at", "seconds", "seconds_left",
    "images", "done", "masks", "absent", "errors",
)  # fmt: skip


def submit(spec: AnnotateSpec, config: ServeConfig, sets: ExemplarStore) -> JobState:
    address = _address(config)
    allowed = _allowed(spec, config)
    if not is_names(spec.exemplars):
        digest = sets.get(spec.exemplars).digest
        sets.mark_used(digest)  # the job may wait, and its name may be given new content meanwhile
        allowed = allowed.model_copy(update={"exemplars": sets.document_uri(digest)})
    submitted = cluster.submit(allowed, address)
    return JobState(id=submitted.id, status=submitted.status)


def state(job_id: str, config: ServeConfig) -> JobState:
    job = _known(job_id, config)
    return JobState(id=job.id, status=job.status, message=_progress(job, config) or job.message or None)


def listed(config: ServeConfig) -> list[dict[str, Any]]:
    """Every job that the cluster remembers, newest first; live ones with their newest run."""
    newest_first = reversed(cluster.jobs(_address(config)))
    jobs = []
    for number, job in enumerate(itertools.islice(newest_first, MAX_JOBS)):
        reads_output = _may_read(job, config)
        newest = _newest_run(job, config) if reads_output and (job.live or number < RUNS_READ) else None
        jobs.append(
            {
                "id": job.id,
                "status": job.status,
                "message": job.message or None,
                "started_at": job.started_at,
                "ended_at": job.ended_at,
                "output": job.output if reads_output else None,
                "run": newest,
            }
        )
    return jobs


def stop(job_id: str, config: ServeConfig) -> bool:
    """Only jobs that write where this endpoint may write are its to stop."""
    return cluster.stop(_own(job_id, config).id, _address(config))


def runs_of(job_id: str, config: ServeConfig) -> list[dict[str, Any]]:
    job = _own(job_id, config)
    return [_run(record) for record in runs.recorded(job.output or "", config.access, last=MAX_RUNS)]


def output_of(job_id: str, config: ServeConfig) -> str:
    return _own(job_id, config).output or ""


def report(job_id: str, config: ServeConfig) -> bytes:
    job = _own(job_id, config)
    try:
        return store.read(f"{(job.output or '').rstrip('/')}/{REPORT}", config.access)
    except StorageError as error:
        if error.missing:
            raise ProblemError(404, "no-report", f"{job_id} has no report yet; it is written when a run ends") from None
        raise


def _known(job_id: str, config: ServeConfig) -> cluster.JobState:
    try:
        return cluster.status(job_id, _address(config))
    except ClusterError as error:
        if "no job" in str(error):
            raise ProblemError(404, "no-such-job", f"the cluster remembers no job {job_id}") from None
        raise


def _own(job_id: str, config: ServeConfig) -> cluster.JobState:
    job = _known(job_id, config)
    if not _may_read(job, config):
        raise ProblemError(403, "uri-not-allowed", f"{job_id} writes below none of the endpoint's `output_prefixes`")
    return job


def _may_read(job: cluster.JobState, config: ServeConfig) -> bool:
    return job.output is not None and is_below(job.output.rstrip("/") + "/", tuple(config.output_prefixes)) is not None


def _newest_run(job: cluster.JobState, config: ServeConfig) -> dict[str, Any] | None:
    """The newest run that began with the job: an older one is another night's."""
    try:
        newest = runs.recorded(job.output or "", config.access, last=1)
    except StorageError:
        return None  # the store does not answer, the cluster did
    if not newest or (job.started_at and _seconds(newest[0]["started_at"]) < int(job.started_at)):
        return None
    return _run(newest[0])


def _run(record: dict[str, Any]) -> dict[str, Any]:
    is_silent = record["state"] == "running" and time.time() - _seconds(record["updated_at"]) > SILENT_SECONDS
    told = {key: record[key] for key in RUN_KEYS if key in record}
    return told | ({"state": "silent", "seconds_left": None} if is_silent else {})


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _progress(job: cluster.JobState, config: ServeConfig) -> str | None:
    """How far the job is; of jobs that write elsewhere this endpoint tells no more than their state."""
    if not _may_read(job, config):
        return None
    try:
        return cluster.progress(job, config.access)
    except StorageError:
        return None  # the store does not answer, the cluster did


def _address(config: ServeConfig) -> str:
    if config.jobs_address is None:
        raise ProblemError(404, "no-cluster", "this endpoint submits no jobs; set `jobs_address` to a Ray cluster")
    return config.jobs_address


def _allowed(spec: AnnotateSpec, config: ServeConfig) -> AnnotateSpec:
    """Jobs run with the cluster's rights, so every place in a spec must lie below a configured prefix."""
    for where, uri in (("images.uri", spec.images.uri), ("images.manifest", spec.images.manifest)):
        if uri is not None and is_below(uri.rstrip("/") + "/", tuple(config.uri_prefixes)) is None:
            raise ProblemError(403, "uri-not-allowed", f"{where} lies below none of the endpoint's `uri_prefixes`")
    if is_below(spec.output.uri.rstrip("/") + "/", tuple(config.output_prefixes)) is None:
        raise ProblemError(403, "uri-not-allowed", "output.uri lies below none of the endpoint's `output_prefixes`")
    if spec.model not in config.known_models:
        raise ProblemError(422, "unknown-model", f"this endpoint serves {', '.join(config.known_models)}")
    if spec.storage.endpoint not in (None, config.storage.endpoint):
        raise ProblemError(403, "uri-not-allowed", "storage.endpoint is the endpoint's own; leave it out")
    if spec.deploy.webhook is not None:
        raise ProblemError(403, "uri-not-allowed", "deploy.webhook is not called for jobs submitted here; leave it out")
    return spec.model_copy(update={"storage": config.storage})
