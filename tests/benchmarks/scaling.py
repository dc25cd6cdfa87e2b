"""How a job's throughput grows with its workers. The model sleeps, so that cores set no limit.

Every worker gets the same number of images; the time is that of the whole job, listing and commits included.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import Row
from PIL import Image

from jobs.annotate import annotate
from tests.servers.ray_cluster import RayCluster
from tlg.documents import parse
from tlg.spec import AnnotateSpec

SECONDS_PER_IMAGE = 1.0
IMAGES_PER_WORKER = 128
WORKERS = (1, 2, 4)
LEAST_SHARE_OF_LINEAR = 0.9


def measure() -> list[Row]:
    # Cores as Ray counts them: one a worker, two for fetching and decoding.
    with RayCluster(workers=1, cpus_per_worker=max(WORKERS) + 2) as cluster, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.token}
        rates = {workers: _images_per_second(Path(folder), workers, cluster.gcs_address) for workers in WORKERS}
    inputs = f"{IMAGES_PER_WORKER} images a worker, {SECONDS_PER_IMAGE:g} s each"
    rows = [
        Row(f"{workers} workers of a sleeping model", rates[workers], "images/s", inputs=inputs) for workers in rates
    ]
    for workers in WORKERS[1:]:
        share = rates[workers] / (workers * rates[1])
        rows.append(Row(f"{workers} workers, of linear", share, "ratio", f">= {LEAST_SHARE_OF_LINEAR}", inputs=inputs))
    return rows


def _images_per_second(folder: Path, workers: int, address: str) -> float:
    count = IMAGES_PER_WORKER * workers
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
    began = time.perf_counter()
    summary = annotate(spec, address)
    seconds = time.perf_counter() - began
    assert summary.done == count
    return count / seconds


def _write_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{number:05d}.png")
