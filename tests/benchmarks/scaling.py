"""How a job's throughput grows with its workers. The model sleeps, so that cores set no limit.

Every worker gets the same number of images. Two rates are told: of the whole job, the start of its workers, listing and
commits included; and of its middle, between a tenth and nine tenths of its answers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from harness import Row
from PIL import Image

from jobs import receiver
from jobs.annotate import annotate
from tests.servers.ray_cluster import RayCluster
from tlg.documents import parse
from tlg.spec import AnnotateSpec

SECONDS_PER_IMAGE = 1.0
IMAGES_PER_WORKER = 128
WORKERS = (1, 2, 4, 8, 16)
LEAST_SHARE_OF_LINEAR = 0.9


def measure(workers: tuple[int, ...] = WORKERS, images: int = IMAGES_PER_WORKER) -> list[Row]:
    # Cores as Ray counts them: one a worker, two for fetching and decoding.
    with RayCluster(workers=1, cpus_per_worker=max(workers) + 2) as cluster, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.token}
        rates = {count: _rates(Path(folder), count, images, cluster.gcs_address) for count in workers}
    inputs = f"{images} images a worker, {SECONDS_PER_IMAGE:g} s each"
    rows = []
    for place, of in enumerate(("", ", its middle")):
        first = rates[workers[0]][place] / workers[0]
        for count in workers:
            rate = rates[count][place]
            rows.append(Row(f"{count} workers of a sleeping model{of}", rate, "images/s", inputs=inputs))
            if count != workers[0]:
                aim = f">= {LEAST_SHARE_OF_LINEAR}"
                rows.append(Row(f"{count} workers, of linear{of}", rate / (count * first), "ratio", aim, inputs=inputs))
    return rows


def _rates(folder: Path, workers: int, images: int, address: str) -> tuple[float, float]:
    """Images a second of the whole job and of its middle."""
    count = images * workers
    _write_images(folder / f"images-{workers}", count)
    _write_images(folder / "exemplars/one", 1)
    content = {
        "name": "scaling",
        "images": {"uri": str(folder / f"images-{workers}")},
        "exemplars": str(folder / "exemplars"),
        "model": f"dry-run:{SECONDS_PER_IMAGE}",
        "output": {"uri": str(folder / f"out-{workers}"), "formats": ["parquet"]},
        "workers": {"min": workers, "max": workers},
    }
    spec = parse(AnnotateSpec, content, "scaling")
    came: list[tuple[float, int]] = []
    take = receiver.Receiver.take

    def noted(self: receiver.Receiver, receipts: Any) -> None:
        take(self, receipts)
        came.append((time.perf_counter(), int(self.received.sum())))

    began = time.perf_counter()
    with mock.patch.object(receiver.Receiver, "take", noted):
        summary = annotate(spec, address)
    seconds = time.perf_counter() - began
    assert summary.done == count
    early, late = (next(seen for seen in came if seen[1] >= share * count) for share in (0.1, 0.9))
    return count / seconds, (late[1] - early[1]) / (late[0] - early[0])


def _write_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{number:05d}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--images", type=int, default=IMAGES_PER_WORKER)
    arguments = parser.parse_args()
    for row in measure(tuple(arguments.workers), arguments.images):
        print(f"{row.what}: {row.value:,.3f} {row.unit} (aim {row.aim}; {row.inputs})")
