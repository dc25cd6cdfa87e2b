"""What the network costs, in units of one backbone pass on the same image.

    python tests/benchmarks/network_cost.py [--quick] [--threads 2] [--json FILE]

Every figure includes the query's own backbone pass; exemplars are encoded beforehand, once, as in use. Head and
backbone are timed in turns, so that a busy machine slows both, and the median of the ratios is given with its spread.
Time is this process's CPU time over its threads on a CPU, and the clock's on an accelerator.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F

from tlg.model.backbone import build_backbone
from tlg.model.network import TLG
from tlg.model.network_spec import NetworkSpec
from tlg.model.text import TextVectors

SIDE = 400
QUICK = {"repaired": [(1, 1), (1, 5), (10, 1), (10, 5)], "released": [(1, 1), (1, 5)]}
FULL = {
    "repaired": [(classes, shots) for classes in (1, 10, 50) for shots in (1, 5, 20)],
    "released": [(1, 1), (1, 5), (10, 1)],
}


@dataclass(frozen=True)
class Row:
    behaviour: str
    classes: int
    shots: int
    passes: float
    lowest: float
    highest: float
    repeats: int
    backbone_seconds: float


def clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(call: Callable[[], object], device: str) -> float:
    start = clock(device)
    call()
    return clock(device) - start


def text(count: int, device: str) -> TextVectors:
    return TextVectors(*(F.normalize(torch.randn(count, 512), dim=-1).to(device) for _ in range(3)))


@torch.inference_mode()
def measure(network: TLG, classes: int, shots: int, repeats: int, device: str) -> Row:
    torch.manual_seed(0)
    image = torch.randn(1, 3, SIDE, SIDE, device=device)
    masks = (torch.rand(shots, SIDE, SIDE, device=device) > 0.5).float()
    exemplars = network.encode(torch.randn(shots, 3, SIDE, SIDE, device=device))
    supports = [network.encode_support(exemplars, masks, text(1, device)) for _ in range(classes)]
    priors = (torch.rand(1, classes, SIDE, SIDE, device=device) > 0.5).float()
    vectors = text(classes, device)
    query = network.encode(image)
    network.segment(query, priors, supports, vectors)
    ratios, passes = [], []
    for _ in range(repeats):
        backbone = seconds(lambda: network.encode(image), device)
        head = seconds(lambda: network.segment(query, priors, supports, vectors), device)
        passes.append(backbone)
        ratios.append(1 + head / backbone)
    return Row(
        network.spec.behaviour,
        classes,
        shots,
        round(statistics.median(ratios), 2),
        round(min(ratios), 2),
        round(max(ratios), 2),
        repeats,
        round(statistics.median(passes), 4),
    )


def network_of(behaviour: Literal["released", "repaired"], device: str) -> TLG:
    torch.manual_seed(0)
    backbone = build_backbone("resnet50")
    return TLG(NetworkSpec(backbone="resnet50", behaviour=behaviour), backbone).eval().to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the combinations with an aim")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    print(f"ResNet-50, {SIDE} x {SIDE}, {device}, {args.threads} threads; cost in backbone passes, median [low, high]")
    rows = []
    for behaviour, combinations in (QUICK if args.quick else FULL).items():
        network = network_of(behaviour, device)  # type: ignore[arg-type]
        print(f"{behaviour}: {network.learnable_parameters():,} learnable parameters")
        for classes, shots in combinations:
            row = measure(network, classes, shots, args.repeats, device)
            rows.append(row)
            print(f"  {classes:3d} classes {shots:3d} shots  {row.passes:7.2f}  [{row.lowest:.2f}, {row.highest:.2f}]")
    if args.json:
        machine = {"platform": platform.platform(), "torch": torch.__version__, "device": device}
        content = {"machine": machine, "threads": args.threads, "side": SIDE, "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
