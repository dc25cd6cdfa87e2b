"""What Kubernetes or another cluster has to know beyond the job itself: the `deploy` group of a job spec."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from tlg.documents import Document

# A spec lies in a ConfigMap that many may read.
SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|CONNECTION_STRING|(ACCESS|API|STORAGE|PRIVATE)_KEY")


class VolumeSpec(Document):
    """A Kubernetes volume claim that every pod sees at the same path, so that paths below it mean the same."""

    claim: str = Field(description="Name of the persistent volume claim")
    path: str = Field(pattern=r"^/", description="Where every pod mounts it")


class TolerationSpec(Document):
    """A taint that workers put up with; without `value` whatever its value is."""

    key: str = Field(description="Key of the taint")
    value: str | None = Field(None, description="Its value, if only that one is tolerated")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("NoSchedule", description="Its effect")


class DeploySpec(Document):
    """What Kubernetes or another cluster has to know beyond the job itself."""

    image: str = Field("tlg:latest", description="Container image of every pod")
    image_pull_secrets: list[str] = Field(default=[], description="Kubernetes secrets that may fetch the image")
    volumes: list[VolumeSpec] = Field(default=[], description="Claims with images, models or outputs on them")
    ephemeral_gb: float | None = Field(None, gt=0, description="Disk of a pod for Ray's files and what it spills")
    labels: dict[str, str] = Field(default={}, description="Labels of every resource and pod, beside ours")
    annotations: dict[str, str] = Field(default={}, description="Annotations of every resource and pod")
    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes that workers need")
    node_affinity: dict[str, list[str]] = Field(
        default={}, description="Labels of the nodes that workers need, with every value that will do"
    )
    tolerations: list[TolerationSpec] = Field(
        default=[], description="Taints of nodes on which workers may run; a GPU's own is tolerated anyway"
    )
    priority_class: str | None = Field(None, description="Priority class of every pod")
    queue: str | None = Field(None, description="Kueue's local queue: the job waits until its queue has room for it")
    namespace: str = Field("default", description="Kubernetes namespace")
    service_account: str | None = Field(None, description="Service account with access to the stores")
    secrets: list[str] = Field(default=[], description="Kubernetes secrets whose keys become environment variables")
    environment: dict[str, str] = Field(default={}, description="Environment of every container: proxies, regions")
    authentication: Literal["token", "kubernetes"] = Field(
        "token", description="Who may use a standing cluster: holders of its token, or of a Kubernetes role"
    )
    isolated: bool = Field(False, description="Network policies: only its own pods and KubeRay reach the cluster")
    history: str | None = Field(None, description="Image of the collector for KubeRay's history server")
    deadline_seconds: int = Field(6 * 3600, ge=60, description="A run that lasts longer is stopped")
    keep_seconds: int = Field(3600, ge=0, description="How long a finished job stays visible")
    webhook: str | None = Field(None, description="Receives the summary of each run as Slack-compatible JSON")

    @field_validator("environment")
    @classmethod
    def nothing_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if SECRET_NAME.search(name.upper()):
                raise ValueError(f"{name} looks like a secret, which no spec may hold; name a Kubernetes secret")
        return value
