"""Counts for Prometheus. Every process keeps its own and hands copies to one collector, which adds them up.

A replica that dies leaves its last copy behind, so that counters never fall.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, str, str, str, Labels, float]
PUSH_SECONDS = 2.0
# Gauges of a process that was silent for so long no longer count.
LIVE_SECONDS = 15.0
# A process that was silent for so long is gone: its counters are kept as part of one sum. Health checks end a process
# that hangs much sooner, so none comes back.
GONE_SECONDS = 600.0
LATENCY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Meters:
    """The counts of one process; `deployment` says of which kind it is."""

    def __init__(self, deployment: str = "api") -> None:
        self.source = uuid.uuid4().hex
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tlg_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "tlg_request_duration_seconds",
            "From request to answer",
            ["route"],
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        # The name of version 0.1; version 0.3 will no longer have it.
        self.latency_as_before = Histogram(
            "tlg_request_seconds",
            "Deprecated: tlg_request_duration_seconds",
            ["route"],
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "tlg_stage_duration_seconds",
            "Time of an image's stages: fetch, decode, wait for the network; annotate is a whole batch's",
            ["stage"],
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("tlg_requests_in_flight", "Requests being answered", registry=self.registry)
        self.waiting = Gauge("tlg_images_waiting", "Decoded images that wait for a network", registry=self.registry)
        self.held_bytes = Gauge(
            "tlg_request_held_bytes", "Bodies and fetched images of requests in progress", registry=self.registry
        )
        replicas = Gauge("tlg_replicas", "Processes that report", ["deployment"], registry=self.registry)
        replicas.labels(deployment).set(1)
        memory = Gauge(
            "tlg_resident_memory_bytes", "Memory of all processes of a kind", ["deployment"], registry=self.registry
        )
        memory.labels(deployment).set_function(_resident_bytes)
        self.retries = Counter("tlg_replica_retries", "Images sent again after a replica died", registry=self.registry)
        self.batch_size = Histogram(
            "tlg_batch_size",
            "Images going through a network together",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.annotators = Counter(
            "tlg_annotator_lookups", "Model and exemplar set wanted in memory", ["found"], registry=self.registry
        )
        self.answers = Counter("tlg_answers", "Answers given", ["status"], registry=self.registry)
        self.errors = Counter("tlg_errors", "Images or requests that failed", ["kind"], registry=self.registry)

    def observe_request(self, route: str, seconds: float) -> None:
        self.latency.labels(route).observe(seconds)
        self.latency_as_before.labels(route).observe(seconds)

    def samples(self) -> list[Sample]:
        return [
            (
                family.name,
                family.type,
                family.documentation,
                sample.name,
                tuple(sorted(sample.labels.items())),
                sample.value,
            )
            for family in self.registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]


class Collector:
    """The sum over all processes, those that are gone included."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._copies: dict[str, tuple[float, list[Sample]]] = {}
        self._gone: dict[tuple[str, Labels], Sample] = {}

    def push(self, source: str, samples: list[Sample]) -> None:
        self._copies[source] = (self._clock(), samples)
        now = self._clock()
        for gone in [name for name, (seen, _) in self._copies.items() if now - seen > GONE_SECONDS]:
            _, left = self._copies.pop(gone)
            for sample in left:
                if sample[1] != "gauge":
                    key = (sample[3], sample[4])
                    before = self._gone[key][5] if key in self._gone else 0.0
                    self._gone[key] = (*sample[:5], before + sample[5])

    def text(self) -> str:
        totals: dict[tuple[str, Labels], float] = defaultdict(float)
        heads: dict[str, tuple[str, str]] = {}
        members: dict[str, dict[tuple[str, Labels], None]] = defaultdict(dict)
        for family, kind, documentation, name, labels, value in self._counted():
            heads[family] = (kind, documentation)
            members[family][(name, labels)] = None
            totals[(name, labels)] += value
        lines = ["# HELP tlg_build_info The version that answers", "# TYPE tlg_build_info gauge"]
        lines.append(f'tlg_build_info{{version="{_escaped(_version())}"}} 1.0')
        for family, (kind, documentation) in heads.items():
            shown = f"{family}_total" if kind == "counter" else family
            lines += [f"# HELP {shown} {documentation}", f"# TYPE {shown} {kind}"]
            for name, labels in members[family]:
                inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
                lines.append(
                    f"{name}{{{inside}}} {totals[(name, labels)]!r}" if inside else f"{name} {totals[(name, labels)]!r}"
                )
        return "\n".join(lines) + "\n"

    def _counted(self) -> Iterable[Sample]:
        now = self._clock()
        for seen, samples in self._copies.values():
            is_live = now - seen <= LIVE_SECONDS
            yield from (sample for sample in samples if is_live or sample[1] != "gauge")
        yield from self._gone.values()


def _resident_bytes() -> float:
    try:
        with open("/proc/self/statm") as file:
            return float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not a Linux
        return 0.0


def _version() -> str:
    try:
        return version("tlg")
    except PackageNotFoundError:  # run from its sources
        return "unknown"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
