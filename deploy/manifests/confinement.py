"""What a container may do: nothing as root, nothing on its own disk but in `/tmp`.

Pods pass Kubernetes' pod security standard `restricted`. KubeRay gives the containers that it adds the same settings.
"""

from __future__ import annotations

from typing import Any

from tlg.deployment import DeploySpec

USER_ID = 1000
SCRATCH = "scratch"
# Ray's session, sockets and spilled objects, and caches of the home folder.
SCRATCH_PATH = "/tmp"


def of_pod() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def of_container() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def of_added_container() -> dict[str, Any]:
    """For containers that others add to our pods and that say nothing of the pod's own settings."""
    pod = of_pod()
    return of_container() | {name: pod[name] for name in ("runAsNonRoot", "runAsUser", "seccompProfile")}


def scratch_volume(deploy: DeploySpec) -> dict[str, Any]:
    size = {} if deploy.ephemeral_gb is None else {"sizeLimit": f"{deploy.ephemeral_gb:g}Gi"}
    return {"name": SCRATCH, "emptyDir": size}


def scratch_mount() -> dict[str, Any]:
    return {"name": SCRATCH, "mountPath": SCRATCH_PATH}
