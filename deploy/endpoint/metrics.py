"""Counts for Prometheus. Every process keeps its own and hands copies to one collector, which adds them up.

A replica that dies leaves its last copy behind, so that counters never fall.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Sample = tuple[str, str, str, str, tuple[tuple[str, str], ...], float]
PUSH_SECONDS = 2.0
LIVE_SECONDS = 15.0


class Meters:
    """The counts of one process."""

    def __init__(self) -> None:
        self.source = uuid.uuid4().hex
        self.registry = CollectorRegistry()
        latency = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
        self.requests = Counter(
            "tlg_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "tlg_request_seconds", "From request to answer", ["route"], buckets=latency, registry=self.registry
        )
        self.in_flight = Gauge("tlg_requests_in_flight", "Requests being answered", registry=self.registry)
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

    def samples(self) -> list[Sample]:
        return [
            (family.name, family.type, family.documentation, one.name, tuple(sorted(one.labels.items())), one.value)
            for family in self.registry.collect()
            for one in family.samples
            if not one.name.endswith("_created")
        ]


class Collector:
    """The sum over all processes."""

    def __init__(self) -> None:
        self._copies: dict[str, tuple[float, list[Sample]]] = {}

    def push(self, source: str, samples: list[Sample]) -> None:
        self._copies[source] = (time.monotonic(), samples)

    def text(self) -> str:
        now = time.monotonic()
        totals: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        heads: dict[str, tuple[str, str]] = {}
        members: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], None]] = defaultdict(dict)
        for seen, samples in self._copies.values():
            for family, kind, documentation, name, labels, value in samples:
                if kind == "gauge" and now - seen > LIVE_SECONDS:
                    continue
                heads[family] = (kind, documentation)
                members[family][(name, labels)] = None
                totals[(name, labels)] += value
        lines = []
        for family, (kind, documentation) in heads.items():
            shown = f"{family}_total" if kind == "counter" else family
            lines += [f"# HELP {shown} {documentation}", f"# TYPE {shown} {kind}"]
            for name, labels in members[family]:
                inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
                lines.append(
                    f"{name}{{{inside}}} {totals[(name, labels)]!r}" if inside else f"{name} {totals[(name, labels)]!r}"
                )
        return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
