"""Images a second and utilisation of a GPU; rows without a value on a machine that has none.

    python tests/benchmarks/gpu.py

The repaired network with ResNet-50 on batches that lie in the machine's memory: copied to the GPU, encoded, segmented
for one described class, and the masks copied back.
"""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import time

import torch
from harness import Row, show
from network_cost import SIDE, network_of, text

BATCH, BATCHES, WARM_UP = 8, 60, 5
SAMPLE_MS = 100


def measure() -> list[Row]:
    inputs = f"ResNet-50, {SIDE}x{SIDE}, batches of {BATCH}, one class of one shot"
    rate, busy = on_the_gpu() if torch.cuda.is_available() else (None, None)
    return [
        Row("repaired, on a GPU", rate, "images/s", repeats=BATCHES, inputs=inputs),
        Row("utilisation of the GPU meanwhile", busy, "%", inputs=f"median of nvidia-smi every {SAMPLE_MS} ms"),
    ]


@torch.inference_mode()
def on_the_gpu() -> tuple[float, float]:
    network = network_of("repaired")
    exemplar = network.encode(torch.randn(1, 3, SIDE, SIDE, device="cuda"))
    vectors = text(1, torch.device("cuda"))
    support = network.encode_support(exemplar, torch.ones(1, SIDE, SIDE, device="cuda"), vectors)
    images = torch.randn(BATCH, 3, SIDE, SIDE).pin_memory()
    prior = torch.rand(BATCH, 1, SIDE, SIDE, device="cuda")

    def batch() -> None:
        features = network.encode(images.to("cuda", non_blocking=True).contiguous(memory_format=torch.channels_last))
        logits = network.segment(features, prior, [support], vectors)
        (logits[:, :, 1] > logits[:, :, 0]).cpu()

    for _ in range(WARM_UP):
        batch()
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"-lms={SAMPLE_MS}", "-i=0"]
    sampler = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
    start = time.perf_counter()
    for _ in range(BATCHES):
        batch()
    seconds = time.perf_counter() - start
    sampler.terminate()
    samples = [float(line) for line in sampler.communicate()[0].split()]
    return BATCH * BATCHES / seconds, statistics.median(samples) if samples else float("nan")


if __name__ == "__main__":
    show([dataclasses.asdict(row) for row in measure()])
