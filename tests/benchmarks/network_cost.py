"""What the network costs, in units of one backbone pass on the same image.

    python tests/benchmarks/network_cost.py [--quick] [--threads 2] [--json FILE]

Every figure includes the query's own backbone pass; exemplars are encoded beforehand, once, as in use. Head and
backbone are timed in turns, so that a busy machine slows both, and the median of their ratios is given. A row takes its
repeats within a budget of seconds: the costly ones have fewer, and say how many.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from harness import Row, machine, show

from tlg.allocation import keep_freed_memory
from tlg.network.backbones.registry import build_backbone
from tlg.network.features import Features
from tlg.network.spec import NetworkSpec
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG

Behaviour = Literal["reading", "repaired", "released"]
SIDE = 400
# (behaviour, classes, shots) -> the most backbone passes it may cost.
AIMS = {
    ("reading", 1, 1): 1.6,
    ("reading", 1, 5): 2.0,
    ("repaired", 1, 1): 1.6,
    ("repaired", 1, 5): 2.0,
    ("repaired", 10, 1): 3.5,
    ("repaired", 10, 5): 5.0,
    ("released", 1, 1): 5.0,
    ("released", 1, 5): 22.0,
}
WITHOUT_AIM = [
    ("reading", 1, 20),
    ("reading", 10, 1),
    ("reading", 10, 5),
    ("repaired", 1, 20),
    ("repaired", 10, 20),
    ("repaired", 50, 1),
    ("repaired", 50, 5),
    ("repaired", 50, 20),
    ("released", 10, 1),
]
# (classes, shots): a reading network takes a glance more where nobody drew.
UNDRAWN = [(1, 1), (1, 5), (10, 1)]
REPEATS = 5
FEWEST_REPEATS = 3
# Seconds of a row after its first FEWEST_REPEATS; what keeps the full table near three minutes on two cores.
ROW_BUDGET = 10.0
MEMORY_BATCH = 8
MEMORY_CLASSES = 10
MEMORY_SHOTS = 5
MOST_EXTRA_GB = 3.0


def seconds(call: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def network_of(behaviour: Behaviour) -> TLG:
    torch.manual_seed(0)
    network = TLG(NetworkSpec(backbone="resnet50", behaviour=behaviour), build_backbone("resnet50")).eval()
    return network.cuda() if torch.cuda.is_available() else network


def text(count: int, device: torch.device) -> TextVectors:
    return TextVectors(*(F.normalize(torch.randn(count, 512, device=device), dim=-1) for _ in range(3)))


@torch.inference_mode()
def cost(network: TLG, classes: int, shots: int, repeats: int, are_drawn: bool = True) -> Row:
    torch.manual_seed(0)
    device = next(network.parameters()).device
    image = torch.randn(1, 3, SIDE, SIDE, device=device)
    masks = (torch.rand(shots, SIDE, SIDE, device=device) > 0.5).float()
    exemplars = network.encode(torch.randn(shots, 3, SIDE, SIDE, device=device))
    # One encoded class stands for all: what follows costs the same for equal ones.
    supports = [network.encode_support(exemplars, masks, text(1, device), are_drawn=are_drawn)] * classes
    priors = (torch.rand(1, classes, SIDE, SIDE, device=device) > 0.5).float()
    vectors = text(classes, device)
    query = network.encode(image)

    def head() -> torch.Tensor:
        return network.segment(query, priors, supports, vectors)

    start = time.perf_counter()
    head()
    ratios: list[float] = []
    while len(ratios) < repeats and (len(ratios) < FEWEST_REPEATS or time.perf_counter() - start < ROW_BUDGET):
        backbone = seconds(lambda: network.encode(image))
        ratios.append(1 + seconds(head) / backbone)
    behaviour = network.spec.behaviour
    aim = AIMS.get((behaviour, classes, shots))
    return Row(
        what=f"{behaviour}, {classes} class{'es' * (classes > 1)}, {shots}-shot{'' if are_drawn else ', nobody drew'}",
        value=statistics.median(ratios),
        unit="backbone passes",
        aim="" if aim is None else f"<= {aim}",
        spread=(max(ratios) - min(ratios)) / 2,
        repeats=len(ratios),
        inputs=f"ResNet-50, {SIDE}x{SIDE}, {device}, {torch.get_num_threads()} threads",
    )


@torch.inference_mode()
def extra_gigabytes() -> float:
    """Peak memory that one batch takes beyond what the loaded network, its exemplars and the images hold."""
    network = network_of("repaired")
    device = next(network.parameters()).device
    # One by one: the peak of a process only grows, and the exemplars' must stay below the batch's.
    one_by_one = [network.encode(torch.randn(1, 3, SIDE, SIDE, device=device)) for _ in range(MEMORY_SHOTS)]
    masks = (torch.rand(MEMORY_SHOTS, SIDE, SIDE, device=device) > 0.5).float()
    support = network.encode_support(Features.cat(one_by_one), masks, text(1, device))
    images = torch.randn(MEMORY_BATCH, 3, SIDE, SIDE, device=device)
    priors = (torch.rand(MEMORY_BATCH, MEMORY_CLASSES, SIDE, SIDE, device=device) > 0.5).float()
    vectors = text(MEMORY_CLASSES, device)
    before = torch.cuda.memory_allocated() if torch.cuda.is_available() else resident_bytes()
    network.segment(network.encode(images), priors, [support] * MEMORY_CLASSES, vectors)
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (peak - before) / 1e9


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def memory() -> Row:
    command = [sys.executable, __file__, "--memory", "--threads", str(torch.get_num_threads())]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Row(
        what=f"repaired, peak extra memory of a batch of {MEMORY_BATCH}",
        value=float(done.stdout),
        unit="GB",
        aim=f"< {MOST_EXTRA_GB}",
        inputs=f"ResNet-50, {SIDE}x{SIDE}, {MEMORY_CLASSES} classes, {MEMORY_SHOTS}-shot",
    )


def measure(quick: bool = False, repeats: int = REPEATS) -> list[Row]:
    combinations = [*AIMS, *([] if quick else WITHOUT_AIM)]
    rows = []
    for behaviour in get_args(Behaviour):
        network = network_of(behaviour)
        asked = [of for wanted, *of in combinations if wanted == behaviour]
        rows += [cost(network, classes, shots, repeats) for classes, shots in asked]
        if behaviour == "reading":
            undrawn = [of for of in UNDRAWN if (behaviour, *of) in combinations]
            rows += [cost(network, *of, repeats, are_drawn=False) for of in undrawn]
        learnable = network.learnable_parameters() / 1e6
        aim = "<= 3.0" if behaviour != "released" else ""
        rows.append(Row(f"{behaviour}, learnable parameters", learnable, "millions", aim, inputs="ResNet-50"))
    return [*rows, memory()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only what has an aim")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    if arguments.memory:
        print(extra_gigabytes())
        return
    rows = [dataclasses.asdict(row) for row in measure(arguments.quick, arguments.repeats)]
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
