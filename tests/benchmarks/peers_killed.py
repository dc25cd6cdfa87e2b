"""What `tlg annotate` and its peers leave when they are killed half way, and what the same command does after that.

Each program runs once to its end, which says how long it takes and which masks there are; once it is killed (`kill -9`)
in the middle of its pictures; then it is started again in the same place.
"""

from __future__ import annotations

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
    whole, cut = work / f"whole of {contestant.name}", work / f"cut of {contestant.name}"
    whole_seconds = timed(contestant, work, whole, model)
    run_killed(contestant, work, cut, model, (start_up + whole_seconds) / 2)
    left = contestant.masks(work, cut)
    again_seconds = timed(contestant, work, cut, model)
    ended = contestant.masks(work, cut)
    return Outcome(contestant.masks(work, whole), left, ended, whole_seconds, again_seconds)


def timed(contestant: Contestant, work: Path, out: Path, model: str) -> float:
    start = time.perf_counter()
    run_to_end(contestant, work, out, model)
    return time.perf_counter() - start


def run_killed(contestant: Contestant, work: Path, out: Path, model: str, after: float) -> None:
    process = subprocess.Popen(
        contestant.command(work, out, model),
        env=contestant.surroundings(work, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    process.kill()
    if process.wait() >= 0:
        sys.exit(f"{contestant.name} ended before it was killed; the machine is too uneven for this benchmark")


def measure() -> list[Row]:
    pairs = installable()
    contestants = [contestant for ours, peers in pairs.items() for contestant in (ours, *peers)]
    few = measured(pairs, FEW, 0, MODEL, 1)
    inputs = f"{IMAGES} JPEGs of 320 px, {MODEL}"
    rows = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        work = Path(scratch)
        write_collection(work, IMAGES)
        for contestant in contestants:
            seen = outcome(contestant, work, few.seconds[contestant][0], MODEL)
            name, ratio = contestant.name, seen.again_seconds / seen.whole_seconds
            rows.append(Row(f"{name}: masks that outlive a kill half way", seen.kept, "%", inputs=inputs))
            rows.append(Row(f"{name}: the second start, in the time of a whole run", ratio, "x"))
            rows.append(Row(f"{name}: masks missing after it", seen.lost, "masks", "0"))
            rows.append(Row(f"{name}: masks there twice after it", seen.doubled, "masks", "0"))
    return rows


if __name__ == "__main__":
    for row in measure():
        print(f"{row.what}: {row.value:,.3g} {row.unit}", flush=True)
