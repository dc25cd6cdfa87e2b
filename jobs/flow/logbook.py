"""Which images each stage is at work on, so that an image that kills its worker is found out.

Ray repeats a task whose process died, for ever. A stage notes the images that it takes on and strikes them out when
they are done. Images that a repeated task finds still noted were there when a worker died: after two deaths in company
each of them is taken on alone, and after two deaths alone an image is not taken on again.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tlg.errors import ClusterError

DEATHS_IN_COMPANY = 2
DEATHS_ALONE = 2
# A worker that dies so often while it starts, before it has looked at any image, will not start.
DEATHS_AT_START = 3
ANSWER_SECONDS = 60.0
KIND = "kills_worker"
FATAL = (
    f"the worker's process died {DEATHS_IN_COMPANY + DEATHS_ALONE} times at this image, "
    f"{DEATHS_ALONE} times with this image alone; remove it, save it anew or give workers more memory"
)


@dataclass(frozen=True)
class Turn:
    """Images to be taken on at once, or to be given up for good."""

    positions: list[int]
    is_fatal: bool = False


@dataclass(frozen=True)
class Plan:
    """What became of some images so far: how each may be taken on now."""

    together: list[int]
    alone: list[int]
    fatal: list[int]


class Notes(Protocol):
    """Where stages write: a logbook in this process, or one behind Ray."""

    def take_on(self, stage: str, positions: Sequence[int]) -> Plan: ...

    def take_on_alone(self, stage: str, position: int) -> None: ...

    def strike_out(self, stage: str, positions: Sequence[int]) -> None: ...

    def deaths_at_start(self, worker: str) -> int: ...

    def started(self, worker: str) -> None: ...


class Logbook:
    """The notes themselves. They are as long as what is being worked on, and one number for each death."""

    def __init__(self) -> None:
        self._at_work: dict[tuple[str, int], bool] = {}  # whether alone
        self._deaths: dict[bool, Counter[tuple[str, int]]] = {False: Counter(), True: Counter()}
        self._starts: Counter[str] = Counter()
        self._noted_at = time.monotonic()

    def take_on(self, stage: str, positions: Sequence[int]) -> Plan:
        """Notes what may be taken on together; what is noted from before died there."""
        self._noted_at = time.monotonic()
        plan = Plan([], [], [])
        for position in positions:
            place = (stage, position)
            was_alone = self._at_work.pop(place, None)
            if was_alone is not None:
                self._deaths[was_alone][place] += 1
            if self._deaths[True][place] >= DEATHS_ALONE:
                plan.fatal.append(position)
            elif self._deaths[False][place] >= DEATHS_IN_COMPANY:
                plan.alone.append(position)
            else:
                plan.together.append(position)
                self._at_work[place] = False
        return plan

    def take_on_alone(self, stage: str, position: int) -> None:
        self._at_work[stage, position] = True

    def strike_out(self, stage: str, positions: Sequence[int]) -> None:
        self._noted_at = time.monotonic()
        for position in positions:
            self._at_work.pop((stage, position), None)

    def deaths_at_start(self, worker: str) -> int:
        """How often this worker began to start and did not come to its end; it begins once more."""
        self._noted_at = time.monotonic()
        self._starts[worker] += 1
        return self._starts[worker] - 1

    def started(self, worker: str) -> None:
        self._noted_at = time.monotonic()
        del self._starts[worker]

    def seconds_silent(self) -> float:
        """Since the last note."""
        return time.monotonic() - self._noted_at


class NotesElsewhere(ABC):
    """A Logbook in another process, which is asked and answers."""

    @abstractmethod
    def ask(self, method: str, *arguments: Any) -> Any:
        """What the Logbook's method gives."""

    def take_on(self, stage: str, positions: Sequence[int]) -> Plan:
        return self.ask("take_on", stage, positions)

    def take_on_alone(self, stage: str, position: int) -> None:
        self.ask("take_on_alone", stage, position)

    def strike_out(self, stage: str, positions: Sequence[int]) -> None:
        self.ask("strike_out", stage, positions)

    def deaths_at_start(self, worker: str) -> int:
        return self.ask("deaths_at_start", worker)

    def started(self, worker: str) -> None:
        self.ask("started", worker)


class RemoteNotes(NotesElsewhere):
    """A Logbook that is an actor of Ray's. A caller's notes arrive in the order in which they were made."""

    def __init__(self, actor: Any):
        self._actor = actor

    def ask(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(getattr(self._actor, method).remote(*arguments))

    def strike_out(self, stage: str, positions: Sequence[int]) -> None:
        self._actor.strike_out.remote(stage, positions)  # in time if it comes before the next note

    def seconds_silent(self) -> float:
        """Since a worker's last note; for ever where Ray does not answer."""
        import ray

        try:
            return ray.get(self._actor.seconds_silent.remote(), timeout=ANSWER_SECONDS)
        except ray.exceptions.RayError:
            return float("inf")


@contextmanager
def shared_notes() -> Iterator[RemoteNotes]:
    """Notes for all workers of the running Ray, kept where the driver is: they go only when the run itself does."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Logbook).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)
    book: Any = actor.remote()
    try:
        yield RemoteNotes(book)
    except ClusterError:  # a Ray that is lost answers nobody; otherwise the actor goes with its last handle
        raise
    except BaseException:
        ray.kill(book)
        raise
    else:
        ray.kill(book)


def turns(notes: Notes, stage: str, positions: Sequence[int]) -> Iterator[Turn]:
    """The images in turns, each noted for as long as the caller works on it."""
    plan = notes.take_on(stage, positions)
    if plan.together:
        yield from _noted(notes, stage, plan.together)
    for position in plan.alone:
        notes.take_on_alone(stage, position)
        yield from _noted(notes, stage, [position])
    if plan.fatal:
        yield Turn(plan.fatal, is_fatal=True)


def _noted(notes: Notes, stage: str, positions: list[int]) -> Iterator[Turn]:
    try:
        yield Turn(positions)
    finally:
        notes.strike_out(stage, positions)
