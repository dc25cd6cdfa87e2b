"""How many processes that hold a model this machine has room for."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from tlg.spec import WorkersSpec

# So many pictures are worth the start of one more process.
IMAGES_PER_PROCESS = 24
# Memory that a process may come to need: the model, a batch, decoded pictures.
PROCESS_BYTES = 2 * 2**30
# What Linux says of this machine, and of the container that this may be.
MEMORY = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")


def processes(workers: WorkersSpec, images: int) -> int:
    """For a job without Ray: a core and memory for each, and pictures enough to be worth it, unless the spec says how
    many workers there may be."""
    if workers.max is not None:
        return workers.max
    return max(
        1, min(cores() // max(1, int(workers.cpus)), free_memory() // PROCESS_BYTES, images // IMAGES_PER_PROCESS)
    )


def cores() -> int:
    """That this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = (CONTAINER / "cpu.max").read_text().split()
        there = min(there, math.ceil(float(quota) / float(period)))  # "max" is no number: no limit
    return there


def free_memory() -> int:
    """Bytes; where the system does not tell, more than enough."""
    free = 2**62
    with contextlib.suppress(OSError, StopIteration):
        line = next(line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable"))
        free = int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        most, used = (int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(0, most - used))
    return free
