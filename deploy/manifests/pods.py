"""What one pod is: resources counted from the spec, a locked-down container, probes, mounts.

Ray's own pods (head, worker) and the small ones that submit share all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from deploy.manifests import confinement, placement
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec, WorkersSpec

SPEC_FOLDER = "/etc/tlg"
SPEC_PATH = f"{SPEC_FOLDER}/spec.yaml"
DASHBOARD_PORT = 8265
AGENT_PORT = 52365
SERVE_PORT = 8000
METRICS_PORT = 8080
# The head plans, lists and commits; it never runs the model.
HEAD_RESOURCES = {"cpu": "2", "memory": "8Gi"}
SUBMITTER_RESOURCES = {"cpu": "500m", "memory": "1Gi"}
# Downloads and decoding run beside the model on every pod.
CPUS_BESIDE_WORKERS = 1
DEFAULT_WORKER_MEMORY_GB = 4
# Ray's own processes, its object store and pictures on their way.
MEMORY_BESIDE_WORKERS_GB = 2
# A proxy is for the world outside: Ray's processes, a cluster's own store and a node's identity are not there.
NOT_THROUGH_A_PROXY = (
    "localhost,127.0.0.1,169.254.169.254,.svc,.svc.cluster.local,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
)
TERMINATION_SECONDS = 60


@dataclass(frozen=True)
class PodSize:
    """One worker pod: how many of the spec's workers it holds, and what it asks of its node."""

    workers: int
    cpus: int
    gpus: int
    memory_gb: int

    def resources(self) -> dict[str, Any]:
        asked: dict[str, str | int] = {"cpu": str(self.cpus), "memory": f"{self.memory_gb}Gi"}
        if self.gpus:
            asked[placement.GPU] = self.gpus
        return {"requests": asked, "limits": dict(asked)}


def pod_size(workers: WorkersSpec) -> PodSize:
    """Workers that share a GPU share a pod, because Kubernetes hands out whole GPUs only."""
    if workers.gpus > 1 and not float(workers.gpus).is_integer():
        raise SpecError(f"workers.gpus is {workers.gpus:g}: above one GPU, Ray takes whole GPUs only, like 2")
    sharing = int(1 / workers.gpus + 1e-9) if 0 < workers.gpus < 1 else 1
    count = min(sharing, workers.most)
    return PodSize(
        workers=count,
        cpus=math.ceil(workers.cpus * count) + CPUS_BESIDE_WORKERS,
        gpus=math.ceil(workers.gpus),
        memory_gb=math.ceil((workers.memory_gb or DEFAULT_WORKER_MEMORY_GB) * count) + MEMORY_BESIDE_WORKERS_GB,
    )


def pods_for(worker_count: int, size: PodSize) -> int:
    return math.ceil(worker_count / size.workers)


def labels(spec: AnnotateSpec, role: str) -> dict[str, str]:
    """Ours go last: selectors rely on them."""
    return spec.deploy.labels | own_labels(spec) | {"app.kubernetes.io/component": role}


def own_labels(spec: AnnotateSpec) -> dict[str, str]:
    """What every pod of this job has and no other."""
    return {"app.kubernetes.io/name": "tlg", "app.kubernetes.io/instance": spec.name}


def selector(spec: AnnotateSpec, role: str) -> dict[str, str]:
    return own_labels(spec) | {"app.kubernetes.io/component": role}


def head_pod(spec: AnnotateSpec) -> dict[str, Any]:
    ports = {"gcs-server": 6379, "dashboard": DASHBOARD_PORT, "serve": SERVE_PORT, "metrics": METRICS_PORT}
    container = ray_container(spec, "ray-head", {"requests": HEAD_RESOURCES, "limits": HEAD_RESOURCES}, ports)
    container |= probes("/api/gcs_healthz", DASHBOARD_PORT)
    pod = pod_template(spec, "head", container)
    # An autoscaler that repacks nodes must not move the head: the run would start again.
    pod["metadata"].setdefault("annotations", {})["cluster-autoscaler.kubernetes.io/safe-to-evict"] = "false"
    return pod


def worker_pod(spec: AnnotateSpec, serving: bool) -> dict[str, Any]:
    size = pod_size(spec.workers)
    container = ray_container(spec, "ray-worker", size.resources(), {"metrics": METRICS_PORT})
    container |= probes("/api/local_raylet_healthz", AGENT_PORT)
    if serving:
        container["readinessProbe"] |= {"httpGet": {"path": "/-/healthz", "port": SERVE_PORT}}
    pod = pod_template(spec, "worker", container)
    pod["spec"] |= {"automountServiceAccountToken": False} | placement.of_worker(spec.deploy, size.gpus)
    return pod


def submitter_pod(spec: AnnotateSpec, container: dict[str, Any]) -> dict[str, Any]:
    """A small pod that hands the job over and waits for its end."""
    container = container | {"resources": {"requests": SUBMITTER_RESOURCES, "limits": SUBMITTER_RESOURCES}}
    pod = pod_template(spec, "submitter", container)
    pod["spec"] |= {"restartPolicy": "Never", "automountServiceAccountToken": False}
    return pod


def ray_container(spec: AnnotateSpec, name: str, resources: dict[str, Any], ports: dict[str, int]) -> dict[str, Any]:
    container = base_container(spec, name)
    container["ports"] = [{"name": port_name, "containerPort": port} for port_name, port in ports.items()]
    container["resources"] = _with_disk(resources, spec.deploy.ephemeral_gb)
    # Ray hands running tasks back to the cluster before the pod goes.
    container["lifecycle"] = {"preStop": {"exec": {"command": ["/bin/sh", "-c", "ray stop"]}}}
    return container


def base_container(spec: AnnotateSpec, name: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": spec.deploy.image,
        "env": [{"name": key, "value": value} for key, value in environment(spec).items()],
        "securityContext": confinement.of_container(),
        "volumeMounts": [{"name": "spec", "mountPath": SPEC_FOLDER, "readOnly": True}, confinement.scratch_mount()],
    }
    if spec.deploy.secrets:
        container["envFrom"] = [{"secretRef": {"name": secret}} for secret in spec.deploy.secrets]
    for position, volume in enumerate(spec.deploy.volumes):
        container["volumeMounts"].append({"name": f"volume-{position}", "mountPath": volume.path})
    return container


def head_service(spec: AnnotateSpec) -> str:
    """What KubeRay calls the service of the head of a cluster with the job's name."""
    return f"{spec.name}-head-svc"


def environment(spec: AnnotateSpec) -> dict[str, str]:
    """Every container's; the home folder is where a read-only container may write."""
    chosen = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": confinement.SCRATCH_PATH} | spec.deploy.environment
    has_proxy = any(name.upper() in ("HTTP_PROXY", "HTTPS_PROXY") for name in chosen)
    if has_proxy and not any(name.upper() == "NO_PROXY" for name in chosen):
        chosen |= {"NO_PROXY": f"{head_service(spec)},{NOT_THROUGH_A_PROXY}"}
    return chosen


def _with_disk(resources: dict[str, Any], ephemeral_gb: float | None) -> dict[str, Any]:
    if ephemeral_gb is None:
        return resources
    disk = {"ephemeral-storage": f"{ephemeral_gb:g}Gi"}
    return {bound: asked | disk for bound, asked in resources.items()}


def pod_template(spec: AnnotateSpec, role: str, container: dict[str, Any]) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [
        {"name": "spec", "configMap": {"name": config_name(spec)}},
        confinement.scratch_volume(spec.deploy),
    ]
    for position, volume in enumerate(spec.deploy.volumes):
        volumes.append({"name": f"volume-{position}", "persistentVolumeClaim": {"claimName": volume.claim}})
    pod: dict[str, Any] = {
        "securityContext": confinement.of_pod(),
        "terminationGracePeriodSeconds": TERMINATION_SECONDS,
        "containers": [container],
        "volumes": volumes,
    }
    if spec.deploy.service_account:
        pod["serviceAccountName"] = spec.deploy.service_account
    metadata: dict[str, Any] = {"labels": labels(spec, role)}
    if spec.deploy.annotations:
        metadata["annotations"] = dict(spec.deploy.annotations)
    return {"metadata": metadata, "spec": pod | placement.of_any_pod(spec.deploy)}


def config_name(spec: AnnotateSpec) -> str:
    return f"{spec.name}-spec"


def probes(path: str, port: int) -> dict[str, Any]:
    """Ready as soon as Ray answers; restarted only after ten minutes of silence, since a busy node is slow."""
    answer = {"httpGet": {"path": path, "port": port}, "periodSeconds": 5, "timeoutSeconds": 5}
    return {
        "readinessProbe": answer | {"failureThreshold": 10},
        "livenessProbe": answer | {"initialDelaySeconds": 30, "failureThreshold": 120},
    }
