"""`tlg annotate` beside programs that other tools' users would write, with the same model on the same pictures.

Each program runs from its start to its end, in turns. The programs are in `peers/`; those that need packages of their
own get an environment on first use, which takes minutes and a few GB. `peers_killed.py` kills them half way.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contestants import CORES, Autodistill, Contestant, FiftyOne, Masks, RayData, Tlg
from harness import Row, repeated
from job_efficiency import write_collection
from PIL import Image
from processor_time import ProcessorTime

from tests.servers.environments import Unavailable

IMAGES, REPEATS, MODEL = 600, 3, "tlg-tiny"
# A run of so few is all start and end.
FEW = 8
# No turn begins that would not end by then.
MOST_SECONDS = 600
# What each is measured against: the same number of processes that hold the model, the same threads in each.
PAIRS = {Tlg(1): (Autodistill(), FiftyOne()), Tlg(CORES): (RayData(),)}


class Round:
    """What several runs of each program took, and the masks that each left."""

    def __init__(self, work: Path, model: str):
        self.work, self.model = work, model
        self.seconds: dict[Contestant, list[float]] = defaultdict(list)
        self.processor_seconds: dict[Contestant, list[float]] = defaultdict(list)
        self.masks: dict[Contestant, Masks] = {}

    def run(self, contestant: Contestant) -> None:
        with tempfile.TemporaryDirectory(dir=self.work, ignore_cleanup_errors=True) as folder:
            out = Path(folder) / "out"
            start = time.perf_counter()
            with ProcessorTime() as processor:
                run_to_end(contestant, self.work, out, self.model, processor.surroundings)
            seconds = time.perf_counter() - start
            self.seconds[contestant].append(seconds)
            self.processor_seconds[contestant].append(processor.seconds)
            told = f"{contestant.name}: {seconds:.1f} s, {processor.seconds:.1f} s of a core"
            print(told, file=sys.stderr, flush=True)
            self.masks[contestant] = contestant.masks(self.work, out)


def run_to_end(contestant: Contestant, work: Path, out: Path, model: str, surroundings: dict[str, str]) -> None:
    done = subprocess.run(
        contestant.command(work, out, model),
        env={**contestant.surroundings(work, out), **surroundings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{contestant.name} ended with {done.returncode}: {done.stdout[-2000:]}")


def installable() -> dict[Contestant, list[Contestant]]:
    """The pairs whose environments are there or can be made."""
    pairs: dict[Contestant, list[Contestant]] = {}
    for ours, peers in PAIRS.items():
        for peer in peers:
            try:
                peer.python()
            except Unavailable as error:
                print(f"{peer.name} is left out: {error}", file=sys.stderr)
            else:
                pairs.setdefault(ours, []).append(peer)
    return pairs


def measured(pairs: dict[Contestant, list[Contestant]], count: int, side: int, model: str, repeats: int) -> Round:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        work = Path(scratch)
        write_collection(work, count)
        if side:
            enlarge(work, side)
        round_ = Round(work, model)
        start = time.monotonic()
        for turn in range(repeats):
            if (time.monotonic() - start) * (turn + 1) > MOST_SECONDS * max(1, turn):
                break
            for ours, peers in pairs.items():
                for contestant in (ours, *peers):
                    round_.run(contestant)
    return round_


def enlarge(work: Path, side: int) -> None:
    for file in work.rglob("*.jpg"):
        Image.open(file).resize((side, side)).save(file, quality=85)


def measure(count: int = IMAGES, side: int = 0, model: str = MODEL, repeats: int = REPEATS) -> list[Row]:
    pairs = installable()
    few = measured(pairs, FEW, side, model, 1)
    all_ = measured(pairs, count, side, model, repeats)
    inputs = f"{count} JPEGs of {side or 320} px, 2 classes, {model}, {CORES} cores"
    rows = []
    for ours, peers in pairs.items():
        for peer in peers:
            turns = zip(all_.seconds[ours], all_.seconds[peer], strict=True)
            ratios = [theirs / of_ours for of_ours, theirs in turns]
            rows.append(repeated(f"{ours.name} against {peer.name}, start to end", ratios, "x", inputs=inputs))
            of_core = zip(all_.processor_seconds[ours], all_.processor_seconds[peer], strict=True)
            ratios = [theirs / of_ours for of_ours, theirs in of_core]
            rows.append(repeated(f"{ours.name} against {peer.name}, pictures a second of a core", ratios, "x"))
    for ours, peers in pairs.items():
        for contestant in (ours, *peers):
            rates = [count / seconds for seconds in all_.seconds[contestant]]
            rows.append(repeated(contestant.name, rates, "images/s", inputs=inputs))
            rows.append(Row(f"{contestant.name}, {FEW} pictures", few.seconds[contestant][0], "s"))
            costs = [1000 * seconds / count for seconds in all_.processor_seconds[contestant]]
            rows.append(repeated(f"{contestant.name}, of a core for a picture", costs, "ms"))
            same = len(all_.masks[contestant].keys() & all_.masks[ours].keys()) / len(all_.masks[ours])
            rows.append(Row(f"{contestant.name}, masks of {ours.name} that it has", 100 * same, "%", "> 95"))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--side", type=int, default=0, help="pictures are enlarged to so many pixels")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    for row in measure(arguments.images, arguments.side, arguments.model, arguments.repeats):
        print(f"{row.what}: {row.value:,.3g} {row.unit} (± {row.spread:.2g}; {row.inputs})", flush=True)
