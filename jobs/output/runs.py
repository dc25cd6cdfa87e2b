"""What a run did: `runs/<run_id>.json`, rewritten while it runs, so that anyone can see how far it is."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import platform
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from tlg import store
from tlg.spec import AnnotateSpec

log = logging.getLogger(__name__)

FOLDER = "runs"
State = Literal["running", "succeeded", "stopped", "failed"]
PACKAGES = ("tlg", "ray", "torch", "pyarrow", "pillow", "numpy")


@dataclass
class RunSummary:
    """The counts and times of one run. `images` is what it had to do, `done` how many of those it committed."""

    run_id: str
    name: str
    output: str
    collection: str = ""
    state: State = "running"
    message: str = ""
    started_at: str = ""
    seconds: float = 0.0
    listed: int = 0
    images: int = 0
    done: int = 0
    masks: int = 0
    absent: int = 0
    errors: int = 0
    deferred: int = 0
    replaced: int = 0
    # Answered images that the collection does not list any more.
    departed: int = 0
    nothing_asked: int = 0
    shards: int = 0
    rows: int = 0
    images_per_second: float = 0.0
    # From the first answers, when all workers are up, to the last.
    steady_images_per_second: float = 0.0
    seconds_left: float | None = None
    error_types: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    stage_seconds: dict[str, float] = field(default_factory=dict)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    model: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    workers: int = 0
    only_failed: bool = False
    cost: float | None = None
    updated_at: str = ""

    @property
    def remaining(self) -> int:
        return self.images - self.done

    def write(self, access: store.Access) -> None:
        self.updated_at = now()
        content = json.dumps(asdict(self), indent=1)
        store.write(f"{self.output.rstrip('/')}/{FOLDER}/{self.run_id}.json", content.encode(), access)


def new_run_id() -> str:
    """Sorts by time; no two runs of an output share one, since only one at a time holds its lease."""
    return datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def duration(seconds: float) -> str:
    """As people say it: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def pace(images_per_second: float) -> str:
    """`3.2/s`, or by the minute where that would read as nothing: `2.1/min`."""
    return f"{images_per_second:,.1f}/s" if images_per_second >= 0.1 else f"{60 * images_per_second:.1f}/min"


def begin(spec: AnnotateSpec, run_id: str) -> RunSummary:
    collection = spec.images.uri or store.parent(spec.images.manifest or "")
    summary = RunSummary(run_id, spec.name, spec.output.uri, collection, started_at=now(), model=spec.model)
    summary.versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            summary.versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # run from a checkout
    return summary


# What records of older versions do not say.
_NEW_KEYS = {"departed": 0}


def recorded(output: str, access: store.Access = store.DEFAULT_ACCESS, last: int = 5) -> list[dict[str, Any]]:
    """The newest runs of an output, newest first. A record that was cut short is left out, with a word."""
    records: list[dict[str, Any]] = []
    for entry in reversed(store.listed(f"{output.rstrip('/')}/{FOLDER}", "*.json", access)):
        if len(records) == last:
            break
        try:
            record = json.loads(store.read(entry.uri, access))
            if not isinstance(record, dict) or not record.keys() >= {"run_id", "state", "updated_at"}:
                raise ValueError("not the record of a run")
        except ValueError as error:
            log.warning("%s: ignored (%s); it can be deleted", entry.uri, error)
            continue
        records.append(_NEW_KEYS | record)
    return records


def close_unfinished(output: str, run_id: str, access: store.Access, reason: str = "ended without a word") -> None:
    """Records that still say `running` are of runs that were killed: only `run_id` holds the lease."""
    for record in recorded(output, access):
        if record["state"] == "running" and record["run_id"] != run_id:
            closed = {
                "state": "failed",
                "seconds_left": None,
                "message": f"{reason}; closed by run {run_id}",
            }
            uri = f"{output.rstrip('/')}/{FOLDER}/{record['run_id']}.json"
            store.write(uri, json.dumps(record | closed, indent=1).encode(), access)


def ending(summary: RunSummary) -> str:
    """A run's last line."""
    if not summary.images and summary.only_failed:
        return (
            f"nothing to do: of {summary.listed:,} images listed none has failed; "
            f"without --only-failed new images are answered ({summary.seconds:.1f} s)"
        )
    if not summary.images:
        return f"nothing to do: all {summary.listed:,} images are answered ({summary.seconds:.1f} s)"
    rate = summary.done / max(summary.seconds, 1e-9)
    counts = f"{summary.masks:,} masks, {summary.absent:,} absent, {summary.errors:,} errors"
    return f"{summary.done:,} images in {duration(summary.seconds)} ({pace(rate)}): {counts} -> {summary.output}"


class Tally:
    """Adds up what reaches the driver into a RunSummary."""

    def __init__(self, summary: RunSummary, price_per_hour: float | None):
        self.summary = summary
        self._price = price_per_hour
        self._start = time.monotonic()
        self._types: Counter[str] = Counter()

    def add(self, statuses: dict[str, int], error_types: list[str], seconds: dict[str, float]) -> None:
        summary = self.summary
        summary.masks += statuses.get("mask", 0)
        summary.absent += statuses.get("absent", 0)
        summary.errors += statuses.get("error", 0)
        self._types.update(error_types)
        summary.error_types = dict(self._types.most_common())
        for stage, value in seconds.items():
            summary.stage_seconds[stage] = summary.stage_seconds.get(stage, 0.0) + value

    def tick(self) -> None:
        summary = self.summary
        summary.seconds = time.monotonic() - self._start
        if self._price is not None:
            summary.cost = round(self._price * max(1, summary.workers) * summary.seconds / 3600, 4)
