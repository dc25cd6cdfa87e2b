"""Who runs the stages of a job: this machine alone, or Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.flow import pipeline
from jobs.flow.early_ray import EarlyRay
from jobs.flow.here import Here
from jobs.flow.room import cores, processes
from jobs.flow.stages import Executor, Stages
from jobs.flow.work import Work
from tlg.spec import AnnotateSpec, WorkersSpec

log = logging.getLogger(__name__)

# More images than this are worth the start of Ray, whose tasks decode on every core.
MOST_IMAGES_HERE = 20_000
# The driver's list of what it drives, which costs no library to read.
GPUS = Path("/proc/driver/nvidia/gpus")


class Execution:
    """`with` it: an executor that suits a job's work."""

    def __init__(self, spec: AnnotateSpec, address: str | None, say: Callable[[str], object]):
        self._spec, self._address, self._say = spec, address, say
        self._stack = contextlib.ExitStack()
        self._stages: Stages | None = None
        self._here: Here | None = None
        self._ray: EarlyRay | None = None
        self._executor: Executor | None = None

    def __enter__(self) -> Execution:
        return self

    def __exit__(self, *given: Any) -> None:
        self._stack.__exit__(*given)

    def prepare(self) -> None:
        """There will be work: what takes long begins while exemplars are read and the collection is listed."""
        if fits_here(self._spec.workers, self._address):
            self._start_here()
        elif self._spec.run.background == "model":
            # What is ordinary in a collection is looked up before, in a session of its own that ends.
            self._start_ray()

    def expect(self, count: int) -> None:
        """So many images at least are to be answered; more may be listed."""
        if count and not self._suits_here(count):
            self._start_ray().look_up()

    def introduce(self, stages: Stages) -> None:
        """Before `executor`: what the spec does not say."""
        self._stages = stages
        if self._here is not None:
            self._here.introduce(stages)

    def executor(self, work: Work) -> Executor:
        """The one that suits the work, started."""
        if self._executor is None:
            self._executor = self._chosen(work)
        return self._executor

    def _chosen(self, work: Work) -> Executor:
        workers = self._spec.workers
        if self._suits_here(work.count):
            count = processes(workers, work.count)
            self._say(f"starting {count} worker{'s' * (count > 1)}")
            return self._start_here()
        self._say(f"starting Ray and {_counted(workers)}")
        vitals = self._start_ray().vitals()
        assert self._stages is not None
        return pipeline.OnRay(self._stages, vitals)

    def _suits_here(self, count: int) -> bool:
        return count <= MOST_IMAGES_HERE and fits_here(self._spec.workers, self._address)

    def _start_ray(self) -> EarlyRay:
        if self._ray is None:
            if self._here is not None:
                self._here.close()
                self._here = None
            self._ray = self._stack.enter_context(EarlyRay(self._address, self._spec.workers))
        return self._ray

    def _start_here(self) -> Here:
        if self._here is None:
            if gpus := len(list(GPUS.glob("*"))):
                log.warning("%d GPUs are here and workers.gpus is 0: the model runs on CPUs; set workers.gpus", gpus)
            self._here = Here(self._spec)
            if self._stages is not None:
                self._here.introduce(self._stages)
            self._stack.callback(self._here.close)
        return self._here


def fits_here(workers: WorkersSpec, address: str | None) -> bool:
    """Whether this machine is all that is asked for, and no Ray is named or running."""
    is_named = address or os.environ.get("RAY_ADDRESS")
    asks_more = workers.most > 1 or workers.gpus or workers.memory_gb or workers.cpus > cores()
    return not (is_named or asks_more or _ray_runs())


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _counted(workers: WorkersSpec) -> str:
    if workers.most == 1:
        return "1 worker"
    return f"{workers.min if workers.min == workers.most else f'{workers.min} to {workers.most}'} workers"
