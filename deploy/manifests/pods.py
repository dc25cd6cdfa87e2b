"""What one pod is: resources counted from the spec, a locked-down container, probes, mounts.

Ray's own pods (head, worker) and the small ones that submit share all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
USER_ID = 1000
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
            asked["nvidia.com/gpu"] = self.gpus
        return {"requests": asked, "limits": dict(asked)}


def pod_size(workers: WorkersSpec) -> PodSize:
    """Workers that share a GPU share a pod, because Kubernetes hands out whole GPUs only."""
    if workers.gpus > 1 and not float(workers.gpus).is_integer():
        raise SpecError(f"workers.gpus is {workers.gpus:g}: above one GPU, Ray takes whole GPUs only, like 2")
    sharing = int(1 / workers.gpus + 1e-9) if 0 < workers.gpus < 1 else 1
    count = min(sharing, workers.max)
    return PodSize(
        workers=count,
        cpus=math.ceil(workers.cpus * count) + CPUS_BESIDE_WORKERS,
        gpus=math.ceil(workers.gpus),
        memory_gb=math.ceil((workers.memory_gb or DEFAULT_WORKER_MEMORY_GB) * count) + MEMORY_BESIDE_WORKERS_GB,
    )


def pods_for(worker_count: int, size: PodSize) -> int:
    return math.ceil(worker_count / size.workers)


def labels(spec: AnnotateSpec, role: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "tlg",
        "app.kubernetes.io/instance": spec.name,
        "app.kubernetes.io/component": role,
    }


def head_pod(spec: AnnotateSpec) -> dict[str, Any]:
    ports = {"gcs-server": 6379, "dashboard": DASHBOARD_PORT, "serve": SERVE_PORT, "metrics": METRICS_PORT}
    container = ray_container(spec, "ray-head", {"requests": HEAD_RESOURCES, "limits": HEAD_RESOURCES}, ports)
    container |= probes("/api/gcs_healthz", DASHBOARD_PORT)
    pod = pod_template(spec, "head", container)
    # An autoscaler that repacks nodes must not move the head: the run would start again.
    pod["metadata"]["annotations"] = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    return pod


def worker_pod(spec: AnnotateSpec, serving: bool) -> dict[str, Any]:
    size = pod_size(spec.workers)
    container = ray_container(spec, "ray-worker", size.resources(), {"metrics": METRICS_PORT})
    container |= probes("/api/local_raylet_healthz", AGENT_PORT)
    if serving:
        container["readinessProbe"] |= {"httpGet": {"path": "/-/healthz", "port": SERVE_PORT}}
    pod = pod_template(spec, "worker", container)
    pod["spec"]["automountServiceAccountToken"] = False
    if spec.deploy.node_selector:
        pod["spec"]["nodeSelector"] = dict(spec.deploy.node_selector)
    if size.gpus:
        pod["spec"]["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
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
    container["resources"] = resources
    # Ray hands running tasks back to the cluster before the pod goes.
    container["lifecycle"] = {"preStop": {"exec": {"command": ["/bin/sh", "-c", "ray stop"]}}}
    return container


def base_container(spec: AnnotateSpec, name: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": spec.deploy.image,
        "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "spec", "mountPath": SPEC_FOLDER, "readOnly": True}],
    }
    if spec.deploy.secrets:
        container["envFrom"] = [{"secretRef": {"name": secret}} for secret in spec.deploy.secrets]
    for position, volume in enumerate(spec.deploy.volumes):
        container["volumeMounts"].append({"name": f"volume-{position}", "mountPath": volume.path})
    return container


def pod_template(spec: AnnotateSpec, role: str, container: dict[str, Any]) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "spec", "configMap": {"name": config_name(spec)}}]
    for position, volume in enumerate(spec.deploy.volumes):
        volumes.append({"name": f"volume-{position}", "persistentVolumeClaim": {"claimName": volume.claim}})
    pod: dict[str, Any] = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": TERMINATION_SECONDS,
        "containers": [container],
        "volumes": volumes,
    }
    if spec.deploy.service_account:
        pod["serviceAccountName"] = spec.deploy.service_account
    return {"metadata": {"labels": labels(spec, role)}, "spec": pod}


def config_name(spec: AnnotateSpec) -> str:
    return f"{spec.name}-spec"


def probes(path: str, port: int) -> dict[str, Any]:
    """Ready as soon as Ray answers; restarted only after ten minutes of silence, since a busy node is slow."""
    answer = {"httpGet": {"path": path, "port": port}, "periodSeconds": 5, "timeoutSeconds": 5}
    return {
        "readinessProbe": answer | {"failureThreshold": 10},
        "livenessProbe": answer | {"initialDelaySeconds": 30, "failureThreshold": 120},
    }
