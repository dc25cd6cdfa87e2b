"""Where pods run and how they wait for it: nodes, taints, priority, the queue."""

from __future__ import annotations

from typing import Any

from tlg.deployment import DeploySpec, TolerationSpec

GPU = "nvidia.com/gpu"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


def of_any_pod(deploy: DeploySpec) -> dict[str, Any]:
    placed: dict[str, Any] = {}
    if deploy.priority_class:
        placed["priorityClassName"] = deploy.priority_class
    if deploy.image_pull_secrets:
        placed["imagePullSecrets"] = [{"name": name} for name in deploy.image_pull_secrets]
    return placed


def of_worker(deploy: DeploySpec, gpus: int) -> dict[str, Any]:
    placed: dict[str, Any] = {}
    if deploy.node_selector:
        placed["nodeSelector"] = dict(deploy.node_selector)
    if deploy.node_affinity:
        needed = [
            {"key": key, "operator": "In", "values": list(values)} for key, values in deploy.node_affinity.items()
        ]
        terms = {"nodeSelectorTerms": [{"matchExpressions": needed}]}
        placed["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    tolerated = [TolerationSpec(key=GPU)] if gpus else []
    if wanted := [*tolerated, *deploy.tolerations]:
        placed["tolerations"] = [_toleration(toleration) for toleration in wanted]
    return placed


def queue_label(deploy: DeploySpec) -> dict[str, str]:
    """For the resource that Kueue admits; it sets `suspend` there by itself."""
    return {QUEUE_LABEL: deploy.queue} if deploy.queue else {}


def _toleration(toleration: TolerationSpec) -> dict[str, Any]:
    said = {"operator": "Exists"} if toleration.value is None else {"operator": "Equal", "value": toleration.value}
    return {"key": toleration.key, **said, "effect": toleration.effect}
