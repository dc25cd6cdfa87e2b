"""Load on a running endpoint from this second process, and the bare annotator's throughput beside it.

    make bench ONLY=endpoint_load                     # starts an endpoint of its own
    python tests/benchmarks/endpoint_load.py http://127.0.0.1:8000 --model tlg-tiny --images 800

Every answer is compared with the annotator's own; a lost or wrong one fails the run.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from harness import Row, repeated
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.servers.ports import free_port
from tlg import exemplars, pictures
from tlg.allocation import keep_freed_memory
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator
from tlg.answers.wire import Answers
from tlg.client import Client

REPOSITORY = Path(__file__).resolve().parents[2]
SET_NAME = "endpoint-load"
SIZE = (640, 480)
DISTINCT = 32
MODEL, IMAGES, CONNECTIONS, BATCH = "tlg-tiny", 800, 32, 8
REPEATS = 3


def scene(seed: int, disc: bool = True) -> bytes:
    """A JPEG with noise, shading and a bright disc."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    rows, columns = np.mgrid[:height, :width]
    shade = 40 + 30 * np.sin(columns / 70 + seed) + 20 * np.cos(rows / 50)
    pixels = np.stack([shade, shade + 20, shade], 2) + rng.normal(0, 6, (height, width, 3))
    if disc:
        left, top, radius = rng.integers(120, width - 120), rng.integers(120, height - 120), rng.integers(50, 110)
        pixels[(columns - left) ** 2 + (rows - top) ** 2 < radius**2] = (230, 140, 50)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def bare(model: str, set_uri: str, contents: list[bytes], count: int, batch: int, threads: int) -> tuple[float, list]:
    """Images a second of decoding and annotating in batches, nothing else, and the answers to compare with."""
    keep_freed_memory()  # as replicas do
    torch.set_num_threads(threads)
    params = AnnotateParams()
    annotator = load_annotator(model, exemplars.load(set_uri), params)
    answers = [annotator.annotate([pictures.decode(content, params.max_pixels)])[0] for content in contents]
    started = time.perf_counter()
    for first in range(0, count, batch):
        chosen = [contents[i % len(contents)] for i in range(first, min(first + batch, count))]
        annotator.annotate([pictures.decode(content, params.max_pixels) for content in chosen])
    return count / (time.perf_counter() - started), answers


async def load(url: str, contents: list[bytes], count: int, connections: int) -> tuple[float, list[float], list]:
    """Requests a second, their latencies, and the rows of each answer (None: refused).

    Requests are written before the clock starts and answers read after it stops: this process shares the endpoint's
    cores, and its own work is not what is measured.
    """
    numbers, latencies, answers = iter(range(count)), [], [None] * count
    clients = [httpx.AsyncClient(base_url=url, timeout=120) for _ in range(connections)]
    requests = [
        httpx.Request("POST", f"{url}/v1/annotate", files={"image": content}, data={"exemplars": SET_NAME})
        for content in contents
    ]
    bodies = [(request.read(), {"Content-Type": request.headers["Content-Type"]}) for request in requests]

    async def work(client: httpx.AsyncClient) -> None:
        for number in numbers:
            body, headers = bodies[number % len(bodies)]
            started = time.perf_counter()
            answers[number] = await client.post("/v1/annotate", content=body, headers=headers)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    seconds = time.perf_counter() - started
    for client in clients:
        await client.aclose()
    found = [Answers.model_validate_json(one.content).rows if one.is_success else None for one in answers]
    return count / seconds, latencies, found


def differences(found: list, expected: list) -> int:
    """Requests that were lost, or answered otherwise than by the bare annotator."""
    wrong = 0
    for number, rows in enumerate(found):
        answers = expected[number % len(expected)]
        said = [(row.class_name, row.status, row.rle.counts if row.rle else None) for row in rows or ()]
        meant = [(one.class_name, one.status, one.rle["counts"] if one.rle else None) for one in answers]
        wrong += said != meant
    return wrong


def compare(
    url: str, model: str, count: int, connections: int, batch: int, threads: int, repeats: int
) -> list[dict[str, Any]]:
    """Endpoint and bare annotator in turns: throughputs, latencies, and answers that differ, for each turn."""
    contents = [scene(seed) for seed in range(DISTINCT)]
    with Client(url) as client:
        stored = client.put_exemplar_set(
            SET_NAME, {"disc": [scene(1000), scene(1001)]}, [scene(1002, disc=False), scene(1003, disc=False)]
        )
        for content in contents[:8]:  # every replica has its model before the clock starts
            client.annotate(content, SET_NAME)
    asyncio.run(load(url, contents, 2 * connections, connections))
    turns = []
    for _ in range(repeats):
        served_rate, latencies, found = asyncio.run(load(url, contents, count, connections))
        bare_rate, expected = bare(model, stored.uri, contents, count, batch, threads)
        latencies.sort()
        turns.append(
            {
                "bare_images_per_second": round(bare_rate, 2),
                "served_images_per_second": round(served_rate, 2),
                "ratio": round(served_rate / bare_rate, 3),
                "latency_ms": {
                    "p50": round(statistics.median(latencies) * 1000, 1),
                    "p99": round(latencies[int(0.99 * len(latencies))] * 1000, 1),
                    "max": round(latencies[-1] * 1000, 1),
                },
                "lost_or_wrong": differences(found, expected),
            }
        )
    return turns


@contextmanager
def served(store: Path, replicas: int) -> Iterator[str]:
    """`tlg serve` in a process of its own, until its line says that it serves; its URL."""
    port = free_port()
    settings = {"port": port, "store": store, "replicas.min": replicas, "replicas.max": replicas, "model": MODEL}
    command = [sys.executable, "-m", "tlg", "serve"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0"}
    log = store / "serve.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            if not any(line.startswith("serving") for line in process.stdout):
                raise RuntimeError(f"`tlg serve` ended with status {process.wait()}: {log.read_text()[-2000:]}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)


def measure() -> list[Row]:
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as store, served(Path(store), cores) as url:
        turns = compare(url, MODEL, IMAGES, CONNECTIONS, BATCH, cores, REPEATS)
    inputs = f"{IMAGES} JPEGs of {SIZE[0]}x{SIZE[1]}, {CONNECTIONS} connections, {cores} replicas, {MODEL}"
    return [
        repeated("endpoint against the bare Annotator", [turn["ratio"] for turn in turns], "x", ">= 0.85", inputs),
        repeated("endpoint: p99 of the answers", [turn["latency_ms"]["p99"] for turn in turns], "ms", inputs=inputs),
        Row(
            "endpoint: lost or wrong answers of all repeats",
            sum(turn["lost_or_wrong"] for turn in turns),
            "answers",
            "0",
            repeats=REPEATS,
            inputs=inputs,
        ),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url")
    arguments.add_argument("--model", default=MODEL)
    arguments.add_argument("--images", type=int, default=IMAGES)
    arguments.add_argument("--connections", type=int, default=CONNECTIONS)
    arguments.add_argument("--batch", type=int, default=BATCH)
    arguments.add_argument("--bare-threads", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    turns = compare(given.url, given.model, given.images, given.connections, given.batch, given.bare_threads, REPEATS)
    about = {
        "model": given.model,
        "machine": f"{os.cpu_count()} x {platform.processor() or platform.machine()}",
        "images": given.images,
        "connections": given.connections,
    }
    text = json.dumps(about | {"turns": turns}, indent=2)
    print(text)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n")
    raise SystemExit(1 if any(turn["lost_or_wrong"] for turn in turns) else 0)


if __name__ == "__main__":
    main()
