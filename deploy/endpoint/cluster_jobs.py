"""Batch jobs through the endpoint: a spec may only name what the endpoint itself may reach."""

from __future__ import annotations

from deploy.endpoint.config import ServeConfig
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore
from deploy.guard.fetch import is_below
from jobs.cluster import submit as cluster
from tlg.answers.wire import JobState
from tlg.errors import ClusterError, StorageError
from tlg.spec import AnnotateSpec


def submit(spec: AnnotateSpec, config: ServeConfig, store: ExemplarStore) -> JobState:
    address = _address(config)
    allowed = _allowed(spec, config)
    digest = store.get(spec.exemplars).digest
    store.mark_used(digest)  # the job may wait, and its name may be given new content meanwhile
    submitted = cluster.submit(allowed.model_copy(update={"exemplars": store.document_uri(digest)}), address)
    return JobState(id=submitted.id, status=submitted.status)


def state(job_id: str, config: ServeConfig) -> JobState:
    try:
        found = cluster.status(job_id, _address(config))
    except ClusterError as error:
        if "no job" in str(error):
            raise ProblemError(404, "no-such-job", f"the cluster remembers no job {job_id}") from None
        raise
    return JobState(id=found.id, status=found.status, message=_progress(found, config) or found.message or None)


def _progress(found: cluster.JobState, config: ServeConfig) -> str | None:
    """How far the job is; of jobs that write elsewhere this endpoint tells no more than their state."""
    if found.output is None or is_below(found.output.rstrip("/") + "/", tuple(config.output_prefixes)) is None:
        return None
    try:
        return cluster.progress(found, config.access)
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
