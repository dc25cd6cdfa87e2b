"""The same job on one or few machines with compose: head, workers, endpoint, and a store where the spec names it."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlsplit

from deploy.manifests import pods
from tlg.spec import AnnotateSpec

STORE_HOST = "store"
STORE_IMAGE = "minio/minio:RELEASE.2025-09-07T16-13-09Z"
HEAD_PORT = 6379
HEAD_ADDRESS = f"http://head:{pods.DASHBOARD_PORT}"
ENDPOINT_FILE = "serve.yaml"
# Read from the shell or an .env file beside the compose file; never written into it.
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def document(spec: AnnotateSpec, files: dict[str, str]) -> dict[str, Any]:
    """A compose file; `files` are the texts that every container finds in SPEC_FOLDER."""
    size = pods.pod_size(spec.workers)
    worker = _service(spec, files) | {
        "command": _ray_start(f"--address=head:{HEAD_PORT}", f"--memory={size.memory_gb * 2**30}"),
        "depends_on": {"head": {"condition": "service_healthy"}},
        "deploy": {"replicas": pods.pods_for(spec.workers.most, size), "resources": _resources(size)},
        "restart": "unless-stopped",
        "stop_grace_period": f"{pods.TERMINATION_SECONDS}s",
        "shm_size": "1gb",
    }
    head = _service(spec, files) | {
        "command": _ray_start("--head", f"--port={HEAD_PORT}", "--dashboard-host=0.0.0.0", "--num-cpus=0"),
        "healthcheck": _health(f"http://127.0.0.1:{pods.DASHBOARD_PORT}/api/gcs_healthz"),
        "ports": [f"127.0.0.1:{pods.DASHBOARD_PORT}:{pods.DASHBOARD_PORT}"],
        "restart": "unless-stopped",
        "shm_size": "1gb",
    }
    job = _service(spec, files) | {
        "command": ["tlg", "submit", pods.SPEC_PATH, "--address", HEAD_ADDRESS, "--wait"],
        "depends_on": {"head": {"condition": "service_healthy"}},
        "profiles": ["job"],
    }
    services = {"head": head, "worker": worker, "job": job, "endpoint": _endpoint(spec, files)}
    volumes: dict[str, Any] = {volume.claim: {} for volume in spec.deploy.volumes}
    if urlsplit(spec.storage.endpoint or "").hostname == STORE_HOST:
        services["store"] = _store(spec)
        volumes["store-data"] = {}
        for name in ("head", "endpoint"):
            services[name].setdefault("depends_on", {})[STORE_HOST] = {"condition": "service_started"}
    configs = {_config_key(name): {"content": text.replace("$", "$$")} for name, text in files.items()}
    return {"name": spec.name, "services": services, "configs": configs, "volumes": volumes}


def _service(spec: AnnotateSpec, files: dict[str, str]) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": spec.deploy.image,
        "environment": {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": _required("RAY_AUTH_TOKEN"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        | {name: f"${{{name}:-}}" for name in CREDENTIALS}
        | {name: value.replace("$", "$$") for name, value in spec.deploy.environment.items()},
        "configs": [{"source": _config_key(name), "target": f"{pods.SPEC_FOLDER}/{name}"} for name in files],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    if spec.deploy.volumes:
        service["volumes"] = [f"{volume.claim}:{volume.path}" for volume in spec.deploy.volumes]
    return service


def _endpoint(spec: AnnotateSpec, files: dict[str, str]) -> dict[str, Any]:
    service = _service(spec, files)
    service["environment"]["TLG_API_KEYS"] = _required("TLG_API_KEYS")
    return service | {
        "command": ["tlg", "serve", f"{pods.SPEC_FOLDER}/{ENDPOINT_FILE}"],
        "healthcheck": _health(f"http://127.0.0.1:{pods.SERVE_PORT}/healthz"),
        "ports": [f"127.0.0.1:{pods.SERVE_PORT}:{pods.SERVE_PORT}"],
        "restart": "unless-stopped",
        "shm_size": "1gb",
    }


def _store(spec: AnnotateSpec) -> dict[str, Any]:
    """One S3 server whose buckets are those that the spec names."""
    port = urlsplit(spec.storage.endpoint or "").port or 80
    named = (spec.images.uri, spec.images.manifest, spec.output.uri, spec.exemplars)
    buckets = sorted({urlsplit(uri).netloc for uri in named if uri and uri.startswith("s3://")})
    # Quoted for the shell, and `$` once more for compose, which would put a variable in its place.
    folders = shlex.join(f"/data/{bucket}" for bucket in buckets).replace("$", "$$")
    return {
        "image": STORE_IMAGE,
        "entrypoint": ["sh", "-c", f"mkdir -p {folders} && exec minio server /data --address :{port}"],
        "environment": {
            "MINIO_ROOT_USER": _required("AWS_ACCESS_KEY_ID"),
            "MINIO_ROOT_PASSWORD": _required("AWS_SECRET_ACCESS_KEY"),
        },
        "ports": [f"127.0.0.1:{port}:{port}"],
        "volumes": ["store-data:/data"],
        "restart": "unless-stopped",
    }


def _ray_start(*options: str) -> list[str]:
    return ["ray", "start", "--block", "--disable-usage-stats", *options]


def _health(url: str) -> dict[str, Any]:
    program = f"import urllib.request; urllib.request.urlopen('{url}', timeout=3)"
    return {"test": ["CMD", "python", "-c", program], "interval": "5s", "timeout": "5s", "retries": 24}


def _resources(size: pods.PodSize) -> dict[str, Any]:
    resources: dict[str, Any] = {"limits": {"cpus": str(size.cpus), "memory": f"{size.memory_gb}gb"}}
    if size.gpus:
        device = {"driver": "nvidia", "count": size.gpus, "capabilities": ["gpu"]}
        resources["reservations"] = {"devices": [device]}
    return resources


def _required(name: str) -> str:
    return f"${{{name}:?set {name} in the environment or in .env}}"


def _config_key(file_name: str) -> str:
    return file_name.replace(".", "-")
