"""What `tlg annotate` and its peers leave when they are killed half way, and what the same command does after that.

Each program runs once to its end, which says how long it takes and which masks there are. Then it is killed (`kill -9`)
amid its pictures, and started again in the same place.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contestants import Contestant, Masks
from harness import Row
from job_efficiency import write_collection
from peers import FEW, MODEL, installable, measured, run_to_end
from processor_time import LOOK_SECONDS, ProcessorTime

IMAGES = 300


@dataclass(frozen=True)
class Outcome:
    """`left` after the kill, `ended` after the second start, `whole` where nobody killed; times in seconds."""

    whole: Masks
    left: Masks
    ended: Masks
    whole_seconds: float
    again_seconds: float

    @property
    def kept(self) -> float:
        return 100 * len(self.left.keys() & self.whole.keys()) / len(self.whole)

    @property
    def lost(self) -> int:
        return len(self.whole.keys() - self.ended.keys())

    @property
    def doubled(self) -> int:
        return sum(count > 1 for count in self.ended.values())


def outcome(contestant: Contestant, work: Path, start_up: float, model: str) -> Outcome:
    """`start_up` is its processor time before the first picture and after the last."""
    whole, cut = work / f"whole of {contestant.name}", work / f"cut of {contestant.name}"
    whole_seconds, whole_processor_seconds = timed(contestant, work, whole, model)
    run_killed(contestant, work, cut, model, (start_up + whole_processor_seconds) / 2)
    left = contestant.masks(work, cut)
    again_seconds, _ = timed(contestant, work, cut, model)
    ended = contestant.masks(work, cut)
    return Outcome(contestant.masks(work, whole), left, ended, whole_seconds, again_seconds)


def timed(contestant: Contestant, work: Path, out: Path, model: str) -> tuple[float, float]:
    """Seconds from start to end, and those of a core."""
    start = time.perf_counter()
    with ProcessorTime() as processor:
        run_to_end(contestant, work, out, model, processor.surroundings)
    return time.perf_counter() - start, processor.seconds


def run_killed(contestant: Contestant, work: Path, out: Path, model: str, after: float) -> None:
    """Killed after so many seconds of a core, which a machine that is busy with other things does not change."""
    with ProcessorTime() as processor:
        process = subprocess.Popen(
            contestant.command(work, out, model),
            env={**contestant.surroundings(work, out), **processor.surroundings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while processor.seconds < after:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
                sys.exit(f"{contestant.name} ended before it was killed; give it more pictures (--images)")
        process.kill()
        process.wait()


def measure(count: int = IMAGES) -> list[Row]:
    pairs = installable()
    contestants = [contestant for ours, peers in pairs.items() for contestant in (ours, *peers)]
    inputs = f"{count} JPEGs of 320 px, {MODEL}"
    few = measured(pairs, FEW, 0, MODEL, 1)
    rows = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        work = Path(scratch)
        write_collection(work, count)
        for contestant in contestants:
            seen = outcome(contestant, work, few.processor_seconds[contestant][0], MODEL)
            name, ratio = contestant.name, seen.again_seconds / seen.whole_seconds
            told = f"{seen.kept:.0f} %, {ratio:.2f}, {seen.lost} missing, {seen.doubled} twice"
            print(f"{name}: {told}", file=sys.stderr, flush=True)
            rows.append(Row(f"{name}: masks that outlive a kill half way", seen.kept, "%", inputs=inputs))
            rows.append(Row(f"{name}: the second start, in the time of a whole run", ratio, "x"))
            rows.append(Row(f"{name}: masks missing after it", seen.lost, "masks", "0"))
            rows.append(Row(f"{name}: masks there twice after it", seen.doubled, "masks", "0"))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    for row in measure(parser.parse_args().images):
        print(f"{row.what}: {row.value:,.3g} {row.unit}", flush=True)
