"""Whether a cluster's other nodes can do the job: each is asked once before it starts, and one error tells all.

Nodes that come later, from an autoscaler, are not asked; they come from the same image as a rule.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import secrets
import sys
from pathlib import Path
from typing import Any

from jobs.flow.work import Work
from tlg.errors import ClusterError

log = logging.getLogger(__name__)
ASK_SECONDS = 120.0
# In the text of the bare RuntimeError with which Ray refuses a cluster of another Python or another Ray.
OTHER_VERSIONS = "Version mismatch"
# They have to agree, or objects do not pass from one process to the other.
SAME = ("python", "ray", "tlg")
# Where they differ, answers may differ in the last digits.
LIKE = ("torch", "numpy")


def check(model: str, model_digest: str, work: Work) -> None:
    """Raises ClusterError where a node lacks the product, its versions, the model, or the way to the store."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    others = [node for node in _living() if node["NodeID"] != here and node["Resources"].get("CPU")]
    if not others:
        return
    replies = {node["NodeID"]: _asked(node["NodeID"], model, f"{work.folder}/000000.parquet", work) for node in others}
    expected = versions()
    faults = []
    for node in others:
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        found = _faults(replies[node["NodeID"]], expected, model, model_digest)
        if found and node["NodeID"] not in {living["NodeID"] for living in _living()}:
            log.warning("%s left the cluster while the job started, which goes on without it", name)
        else:
            faults += [f"{name}: {fault}" for fault in found]
    if faults:
        raise ClusterError(
            f"the cluster cannot run this job: {'; '.join(faults)}. Every node needs the "
            "same installation as the driver: start them from one image, or install the same wheel and constraints"
        )


def _living() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def versions() -> dict[str, str]:
    numbers = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in (*SAME[1:], *LIKE):
        try:
            numbers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            numbers[name] = "none"
    return numbers


def _asked(node: str, model: str, file: str, work: Work) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    access = (work.access.endpoint, work.access.region)

    def told() -> dict[str, Any]:
        # Sent by value: it has to run where the product is not installed.
        from importlib.metadata import PackageNotFoundError, version
        from platform import python_version_tuple

        answer: dict[str, Any] = {"python": ".".join(python_version_tuple()[:2])}
        for name in ("ray", "tlg", "torch", "numpy"):
            try:
                answer[name] = version(name)
            except PackageNotFoundError:
                answer[name] = "none"
        try:
            from tlg import store
            from tlg.annotators.registry import model_digest
        except ImportError as error:
            return answer | {"missing": str(error)}
        for key, look in (
            ("model", lambda: model_digest(model)),
            ("store", lambda: len(store.read_range(file, 0, 4, store.Access(*access)))),
        ):
            try:
                answer[key] = look()
            except Exception as error:  # whatever it is, the driver tells it
                answer[f"no_{key}"] = " ".join(str(error).split())
        return answer

    where = NodeAffinitySchedulingStrategy(node, soft=False)
    # Ray's types lack this strategy, its documentation has it.
    return ray.remote(num_cpus=0, scheduling_strategy=where, max_retries=0)(told).remote()  # type: ignore[call-overload]


def _faults(answer: Any, expected: dict[str, str], model: str, digest: str) -> list[str]:
    import ray

    try:
        told = ray.get(answer, timeout=ASK_SECONDS)
    except ray.exceptions.GetTimeoutError:
        return [f"did not answer within {ASK_SECONDS:g} s"]
    except ray.exceptions.RayError as error:
        return [" ".join(str(error).split())[-300:]]
    return faults_of(told, expected, model, digest)


def faults_of(told: dict[str, Any], expected: dict[str, str], model: str, digest: str) -> list[str]:
    """What a node told, against what the driver has."""
    if "missing" in told:
        return [f"the product is not installed there ({told['missing']})"]
    faults = [
        f"{name} is {told[name]}, the driver has {expected[name]}" for name in SAME if told[name] != expected[name]
    ]
    if "no_model" in told:
        faults.append(f"model {model}: {told['no_model']}")
    elif told["model"] != digest:
        faults.append(f"model {model} is another one there ({told['model'][:12]}, the driver has {digest[:12]})")
    if "no_store" in told:
        faults.append(f"the output's store cannot be read there: {told['no_store']}")
    for name in LIKE:
        if told[name] != expected[name]:
            log.warning("a node has %s %s, the driver has %s: answers may differ", name, told[name], expected[name])
    return faults


def need_no_home() -> None:
    """Ray keeps a cluster's token in the home folder; one that ends with this process needs none that lasts."""
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if token.exists():
        return
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        (token.parent / ".probe").touch()
        (token.parent / ".probe").unlink()
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(16)


def start_ours() -> str:
    """The way out where the head is of another Python or another Ray."""
    return f"start the head with this installation's `ray start` ({sys.prefix}), or run the job with the head's own"
