"""What a rendered endpoint is told: the job's model and stores, and replicas counted like the job's workers."""

from __future__ import annotations

from typing import Any

from tlg import store
from tlg.spec import AnnotateSpec

EXEMPLAR_STORE = "exemplar-sets"


def endpoint_config(spec: AnnotateSpec, port: int, jobs_address: str | None = None) -> dict[str, Any]:
    """The content of a `ServeConfig`: exemplar sets are kept beside the job's output, images come from its source."""
    config: dict[str, Any] = {
        "model": spec.model,
        "host": "0.0.0.0",
        "port": port,
        "store": store.join(spec.output.uri.rstrip("/") + "/", EXEMPLAR_STORE),
    }
    if used := spec.storage.model_dump(exclude_none=True):
        config["storage"] = used
    if spec.images.uri:
        config["uri_prefixes"] = [spec.images.uri]
    if jobs_address:
        config |= {"jobs_address": jobs_address, "output_prefixes": [spec.output.uri]}
    workers = spec.workers
    replicas = {"min": workers.min, "max": workers.most, "cpus": workers.cpus, "gpus": workers.gpus}
    return config | {"replicas": replicas}
