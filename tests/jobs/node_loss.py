"""Run by test_kills: a job on three nodes, one of which is taken away without grace after the first commit."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from jobs.annotate import annotate
from jobs.output import shards
from tests.jobs import collection


def main(images: str, exemplars: str, out: str) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 90 * 2**20})
    nodes = [cluster.add_node(num_cpus=2, object_store_memory=90 * 2**20) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    removed_after: list[int] = []

    def remove() -> None:
        while not shards.committed(out):
            time.sleep(0.02)
        done = sum(len(shards.read(shard, ["image_id"])) for shard in shards.committed(out)) // 2
        cluster.remove_node(nodes[1], allow_graceful=False)
        removed_after.append(done)

    remover = threading.Thread(target=remove, daemon=True)
    remover.start()
    spec = collection.spec(images, Path(exemplars), out, model="dry-run:0.1", workers={"min": 2, "max": 2})
    summary = annotate(spec)
    remover.join()
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps({"done": summary.done, "removed_after": removed_after[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
