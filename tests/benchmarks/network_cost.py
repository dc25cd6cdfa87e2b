"""What the network costs, in units of one backbone pass on the same image.

    python tests/benchmarks/network_cost.py [--quick] [--threads 2] [--json FILE]

Every figure includes the query's own backbone pass; exemplars are encoded beforehand, once, as in use. Head and
backbone are timed in turns, so that a busy machine slows both, and the median of their ratios is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from harness import Row, machine, show

from tlg.model.backbone import build_backbone
from tlg.model.network import TLG
from tlg.model.network_spec import NetworkSpec
from tlg.model.text import TextVectors

SIDE = 400
# (behaviour, classes, shots) -> the most backbone passes it may cost.
AIMS = {
    ("repaired", 1, 1): 1.6,
    ("repaired", 1, 5): 2.0,
    ("repaired", 10, 1): 3.5,
    ("repaired", 10, 5): 5.0,
    ("released", 1, 1): 5.0,
    ("released", 1, 5): 22.0,
}
WITHOUT_AIM = [
    ("repaired", 1, 20),
    ("repaired", 10, 20),
    ("repaired", 50, 1),
    ("repaired", 50, 5),
    ("repaired", 50, 20),
    ("released", 10, 1),
]
REPEATS = 5


def seconds(call: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def network_of(behaviour: Literal["released", "repaired"]) -> TLG:
    torch.manual_seed(0)
    network = TLG(NetworkSpec(backbone="resnet50", behaviour=behaviour), build_backbone("resnet50")).eval()
    return network.cuda() if torch.cuda.is_available() else network


def text(count: int, device: torch.device) -> TextVectors:
    return TextVectors(*(F.normalize(torch.randn(count, 512, device=device), dim=-1) for _ in range(3)))


@torch.inference_mode()
def cost(network: TLG, classes: int, shots: int, repeats: int) -> Row:
    torch.manual_seed(0)
    device = next(network.parameters()).device
    image = torch.randn(1, 3, SIDE, SIDE, device=device)
    masks = (torch.rand(shots, SIDE, SIDE, device=device) > 0.5).float()
    exemplars = network.encode(torch.randn(shots, 3, SIDE, SIDE, device=device))
    supports = [network.encode_support(exemplars, masks, text(1, device)) for _ in range(classes)]
    priors = (torch.rand(1, classes, SIDE, SIDE, device=device) > 0.5).float()
    vectors = text(classes, device)
    query = network.encode(image)

    def head() -> torch.Tensor:
        return network.segment(query, priors, supports, vectors)

    head()
    ratios = []
    for _ in range(repeats):
        backbone = seconds(lambda: network.encode(image))
        ratios.append(1 + seconds(head) / backbone)
    behaviour = network.spec.behaviour
    aim = AIMS.get((behaviour, classes, shots))
    return Row(
        what=f"{behaviour}, {classes} class{'es' * (classes > 1)}, {shots}-shot",
        value=statistics.median(ratios),
        unit="backbone passes",
        aim="" if aim is None else f"<= {aim}",
        spread=(max(ratios) - min(ratios)) / 2,
        repeats=repeats,
        inputs=f"ResNet-50, {SIDE}x{SIDE}, {device}, {torch.get_num_threads()} threads",
    )


def measure(quick: bool = False, repeats: int = REPEATS) -> list[Row]:
    combinations = [*AIMS, *([] if quick else WITHOUT_AIM)]
    rows = []
    for behaviour in ("repaired", "released"):
        network = network_of(behaviour)  # type: ignore[arg-type]
        rows += [cost(network, classes, shots, repeats) for one, classes, shots in combinations if one == behaviour]
        learnable = network.learnable_parameters() / 1e6
        aim = "<= 3.0" if behaviour == "repaired" else ""
        rows.append(Row(f"{behaviour}, learnable parameters", learnable, "millions", aim, inputs="ResNet-50"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only what has an aim")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [dataclasses.asdict(row) for row in measure(arguments.quick, arguments.repeats)]
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
