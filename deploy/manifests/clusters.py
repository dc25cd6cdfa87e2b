"""The Ray cluster behind every target: a head without work of its own, workers that come when work waits."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from deploy.manifests import confinement, network, pods
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec

# A worker that waits this long for work is given back.
IDLE_SECONDS = 120
AUTOSCALER_RESOURCES = {"cpu": "500m", "memory": "512Mi"}
# What Ray asks Kubernetes about whoever comes with a token.
RAY_VERB = "ray:write"


def cluster_spec(spec: AnnotateSpec, serving: bool = False, standing: bool = False) -> dict[str, Any]:
    deploy = spec.deploy
    cluster: dict[str, Any] = {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},
        **_scaling(spec),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": pods.head_pod(spec),
        },
        "workerGroupSpecs": [_workers(spec, serving)],
    }
    if standing and deploy.authentication == "kubernetes":
        cluster["authOptions"]["enableK8sTokenAuth"] = True
    if deploy.isolated:
        open_ports = {role: [pods.METRICS_PORT, *([pods.SERVE_PORT] if serving else [])] for role in ("head", "worker")}
        cluster["networkPolicy"] = network.kuberays_policy(open_ports, pods.own_labels(spec))
    if deploy.history:
        cluster["historyServerOptions"] = {"collectorOptions": _collector(spec)}
    return cluster


def access(spec: AnnotateSpec, resource: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """A role for people, and the head's own right to ask Kubernetes who somebody is."""
    account = spec.deploy.service_account
    if account is None:
        raise SpecError(
            "deploy.authentication is kubernetes: the head asks Kubernetes who comes, under a service account of its "
            "own; name it in deploy.service_account"
        )
    rights = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "resourceNames": [spec.name], "verbs": [RAY_VERB]}
    binding = resource(f"{rights}/v1", "ClusterRoleBinding", name=f"{spec.deploy.namespace}-{spec.name}-asks")
    del binding["metadata"]["namespace"]
    return [
        resource(f"{rights}/v1", "Role", name=f"{spec.name}-users") | {"rules": [rule]},
        binding
        | {
            "roleRef": {"apiGroup": rights, "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": spec.deploy.namespace}],
        },
    ]


def _scaling(spec: AnnotateSpec) -> dict[str, Any]:
    """Kueue admits a cluster as a whole and lets none grow by itself."""
    if spec.deploy.queue:
        return {"enableInTreeAutoscaling": False}
    autoscaler = {
        "idleTimeoutSeconds": IDLE_SECONDS,
        "resources": {"requests": AUTOSCALER_RESOURCES, "limits": AUTOSCALER_RESOURCES},
        "securityContext": confinement.of_added_container(),
        "env": [{"name": "HOME", "value": confinement.SCRATCH_PATH}],
        "volumeMounts": [confinement.scratch_mount()],
    }
    return {"enableInTreeAutoscaling": True, "autoscalerOptions": autoscaler}


def _workers(spec: AnnotateSpec, serving: bool) -> dict[str, Any]:
    size = pods.pod_size(spec.workers)
    most = pods.pods_for(spec.workers.most, size)
    # No floor: a night with nothing new must not start a worker. The job asks for `workers.min` itself.
    least = most if spec.deploy.queue else 0
    return {
        "groupName": "workers",
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": most,
        "rayStartParams": {},
        "template": pods.worker_pod(spec, serving),
    }


def _collector(spec: AnnotateSpec) -> dict[str, Any]:
    """Where it writes to is said by its own variables, which come from `deploy.environment`."""
    environment = [{"name": name, "value": value} for name, value in spec.deploy.environment.items()]
    return {"image": spec.deploy.history, **({"env": environment} if environment else {})}
