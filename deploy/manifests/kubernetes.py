"""One job spec -> ready manifests: Kubernetes with KubeRay, or compose. Counts come from the spec alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import yaml

from deploy.manifests import clusters, compose, cron, endpoint, placement, pods
from tlg import exemplars
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec
from tlg.store import local_path

Target = Literal["rayjob", "raycluster", "rayservice", "cronjob", "raycronjob", "compose"]
TARGETS: tuple[str, ...] = get_args(Target)
SCHEDULED: tuple[str, ...] = ("cronjob", "raycronjob")
ENTRYPOINT = f"python -m jobs.annotate {pods.SPEC_PATH}"
# KubeRay keeps a cluster's token in a secret of the cluster's name.
TOKEN_KEY = "auth_token"
RETRIES = 1
# The submitter outlives the run, whose deadline it enforces.
SUBMITTER_SLACK_SECONDS = 900
# Trying again helps neither a wrong spec (2) nor a run that another run's lease keeps out (6).
FINAL_EXIT_CODES = [2, 6]
MISSED_START_SECONDS = 3600


def render(spec: AnnotateSpec, target: str, cron_line: str | None = None, timezone: str = "Etc/UTC") -> str:
    """YAML for `target`. Raises SpecError where the spec or the schedule cannot mean anything there."""
    return "---\n".join(to_yaml(document) for document in documents(spec, target, cron_line, timezone))


def documents(
    spec: AnnotateSpec, target: str, cron_line: str | None = None, timezone: str = "Etc/UTC"
) -> list[dict[str, Any]]:
    if target not in TARGETS:
        raise SpecError(f"target {target!r}: expected one of {', '.join(TARGETS)}")
    if target in SCHEDULED:
        if cron_line is None:
            raise SpecError(f'target {target} needs a schedule: --cron "0 2 * * *"')
        cron.check(cron_line, timezone)
    if target != "compose":
        return _kubernetes(spec, target, cron_line, timezone)
    config = endpoint.endpoint_config(spec, pods.SERVE_PORT, compose.HEAD_ADDRESS)
    return [compose.document(spec, travelling_files(spec) | {compose.ENDPOINT_FILE: to_yaml(config)})]


def _kubernetes(spec: AnnotateSpec, target: str, cron_line: str | None, timezone: str) -> list[dict[str, Any]]:
    _check(spec, target)
    config = _resource("v1", "ConfigMap", spec, name=pods.config_name(spec)) | {"data": travelling_files(spec)}
    main: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "rayjob": lambda: [_head_budget(spec), _ray(spec, "RayJob", _job_spec(spec))],
        "raycluster": lambda: [*_access(spec), _ray(spec, "RayCluster", clusters.cluster_spec(spec, standing=True))],
        "rayservice": lambda: [_replica_budget(spec), _ray(spec, "RayService", _service_spec(spec))],
        "raycronjob": lambda: [
            _head_budget(spec),
            _ray(spec, "RayCronJob", {"schedule": cron_line, "timeZone": timezone, "jobTemplate": _job_spec(spec)}),
        ],
        "cronjob": lambda: [
            _ray(spec, "RayCluster", clusters.cluster_spec(spec)),
            _cron_job(spec, cron_line, timezone),
        ],
    }
    return [config, *main[target]()]


def _check(spec: AnnotateSpec, target: str) -> None:
    """Raises SpecError for what would be ignored there without a word."""
    if spec.deploy.queue and target == "raycronjob":
        raise SpecError(
            "deploy.queue: KubeRay gives the jobs of a RayCronJob no labels, so Kueue would never see them; "
            "use --target cronjob, or Kueue's default queue of the namespace"
        )
    if spec.deploy.authentication == "kubernetes" and target != "raycluster":
        raise SpecError(
            f"deploy.authentication is kubernetes, which KubeRay offers for standing clusters alone; "
            f"use --target raycluster, or `token` for {target}"
        )


def travelling_files(spec: AnnotateSpec) -> dict[str, str]:
    """The spec and its exemplar set as text that pods mount; everything else must be reachable from the pods."""
    mounted = tuple(volume.path.rstrip("/") + "/" for volume in spec.deploy.volumes)

    def check(key: str, uri: str | None) -> None:
        if uri is None or local_path(uri) is None or (uri + "/").startswith(mounted or ("\0",)):
            return
        raise SpecError(
            f"{key} is {uri}, a path of this machine that pods cannot see; name a bucket (s3://...), or mount a "
            "claim that holds it: deploy.volumes: [{claim: NAME, path: /FOLDER}]"
        )

    check("images.uri", spec.images.uri)
    check("images.manifest", spec.images.manifest)
    check("output.uri", spec.output.uri)
    check("model", spec.model if "/" in spec.model else None)
    files: dict[str, str] = {}
    if local_path(spec.exemplars) is not None and not (spec.exemplars + "/").startswith(mounted or ("\0",)):
        described = exemplars.describe(spec.exemplars)
        for shown_class in described.classes:
            for ref in shown_class.exemplars:
                check(f"exemplar of '{shown_class.name}'", ref.image)
                check(f"mask of '{shown_class.name}'", ref.mask)
        for uri in described.negatives:
            check("negatives", uri)
        files["exemplars.yaml"] = to_yaml(described.model_dump(mode="json", exclude_defaults=True))
        spec = spec.model_copy(update={"exemplars": "exemplars.yaml"})
    files["spec.yaml"] = to_yaml(spec.model_dump(mode="json", exclude_defaults=True))
    return files


def cluster_name(spec: AnnotateSpec) -> str:
    return spec.name


def head_address(spec: AnnotateSpec) -> str:
    """Where the head of a standing cluster listens."""
    return f"http://{pods.head_service(spec)}:{pods.DASHBOARD_PORT}"


def _job_spec(spec: AnnotateSpec) -> dict[str, Any]:
    submitter = pods.base_container(spec, "ray-job-submitter")
    return {
        "entrypoint": ENTRYPOINT,
        "submissionMode": "K8sJobMode",
        "submitterPodTemplate": pods.submitter_pod(spec, submitter),
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": spec.deploy.deadline_seconds,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": spec.deploy.keep_seconds,
        "rayClusterSpec": clusters.cluster_spec(spec),
    }


def _service_spec(spec: AnnotateSpec) -> dict[str, Any]:
    """The endpoint on the same workers: one replica a worker, between `workers.min` and `workers.max`."""
    if not spec.deploy.secrets:
        raise SpecError(
            "the endpoint listens beyond its own pod, so it needs API keys: name a secret with the key TLG_API_KEYS "
            "in deploy.secrets"
        )
    application = {
        "name": spec.name,
        "import_path": "deploy.endpoint.app:build",
        "route_prefix": "/",
        "args": endpoint.endpoint_config(spec, pods.SERVE_PORT),
    }
    return {
        "serveConfigV2": to_yaml({"applications": [application]}),
        "rayClusterConfig": clusters.cluster_spec(spec, serving=True),
    }


def _cron_job(spec: AnnotateSpec, cron_line: str | None, timezone: str) -> dict[str, Any]:
    """Each night hands the spec to the standing head and waits, so that its exit code is the run's."""
    command = ["tlg", "submit", pods.SPEC_PATH, "--address", head_address(spec), "--again", "--wait"]
    container = pods.base_container(spec, "submit") | {"command": command}
    token = {"secretKeyRef": {"name": cluster_name(spec), "key": TOKEN_KEY}}
    container["env"] += [{"name": "RAY_AUTH_MODE", "value": "token"}, {"name": "RAY_AUTH_TOKEN", "valueFrom": token}]
    final = {"containerName": "submit", "operator": "In", "values": FINAL_EXIT_CODES}
    job = {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": spec.deploy.deadline_seconds + SUBMITTER_SLACK_SECONDS,
        "ttlSecondsAfterFinished": spec.deploy.keep_seconds,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": final}]},
        "template": pods.submitter_pod(spec, container),
    }
    schedule = {
        "schedule": cron_line,
        "timeZone": timezone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": MISSED_START_SECONDS,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job},
    }
    return _resource("batch/v1", "CronJob", spec, name=f"{spec.name}-nightly") | {"spec": schedule}


def _head_budget(spec: AnnotateSpec) -> dict[str, Any]:
    """Node drains wait for a running job's head: losing a worker costs a retry, losing the head the run."""
    return _disruption_budget(spec, "head", 0)


def _replica_budget(spec: AnnotateSpec) -> dict[str, Any]:
    """Node drains take the endpoint's replicas one after the other."""
    return _disruption_budget(spec, "worker", 1)


def _disruption_budget(spec: AnnotateSpec, role: str, unavailable: int) -> dict[str, Any]:
    guarded = {"maxUnavailable": unavailable, "selector": {"matchLabels": pods.selector(spec, role)}}
    return _resource("policy/v1", "PodDisruptionBudget", spec, name=f"{spec.name}-{role}") | {"spec": guarded}


def _access(spec: AnnotateSpec) -> list[dict[str, Any]]:
    """Where Kubernetes says who may use the cluster: the role to bind people to, and the head's right to ask."""
    if spec.deploy.authentication == "token":
        return []
    return clusters.access(spec, partial(_resource, spec=spec))


def _ray(spec: AnnotateSpec, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    resource = _resource("ray.io/v1", kind, spec, name=cluster_name(spec)) | {"spec": content}
    resource["metadata"]["labels"] |= placement.queue_label(spec.deploy)
    return resource


def _resource(api_version: str, kind: str, spec: AnnotateSpec, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": spec.deploy.namespace, "labels": pods.labels(spec, "job")}
    if spec.deploy.annotations:
        metadata["annotations"] = dict(spec.deploy.annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


class _Readable(yaml.SafeDumper):
    """No anchors, and texts of several lines as blocks."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def to_yaml(document: object) -> str:
    return yaml.dump(document, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=110)
