"""Who may reach a cluster's pods: each other, KubeRay's operator, and the ports that are meant for others."""

from __future__ import annotations

from typing import Any

OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}


def kuberays_policy(open_ports: dict[str, list[int]], labels: dict[str, str]) -> dict[str, Any]:
    """KubeRay's `networkPolicy`: nothing comes in but what is named; what goes out, to stores and hubs, is free."""
    own = {"from": [{"podSelector": {"matchLabels": labels}}]}
    operator = {"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": OPERATOR}}]}
    policy: dict[str, Any] = {"mode": "DenyAllIngress"}
    for role in ("head", "worker"):
        ports = [{"port": port, "protocol": "TCP"} for port in open_ports.get(role, [])]
        policy[role] = {"ingressRules": [own, operator, *([{"ports": ports}] if ports else [])]}
    return policy
