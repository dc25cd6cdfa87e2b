"""`tlg status OUTPUT --metrics`: the latest run for Prometheus, which cannot scrape what ends before it looks.

Print it into a folder of node_exporter's textfile collector, or push it to a gateway, after each night or every minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from jobs.output import runs
from tlg import store
from tlg.errors import StorageError

# So many runs are looked at for the last one that succeeded.
RUNS = 30
STATES = ("running", "succeeded", "stopped", "failed")
COUNTS = ("images", "done", "masks", "absent", "errors", "deferred")


def metrics(output: str, access: store.Access = store.DEFAULT_ACCESS) -> str:
    recorded = runs.recorded(output, access, last=RUNS)
    if not recorded:
        raise StorageError(f"{output}: no runs recorded here; expected {runs.FOLDER}/*.json", missing=True)
    return generate_latest(_registry(recorded)).decode()


def _registry(recorded: list[dict[str, Any]]) -> CollectorRegistry:
    registry, latest = CollectorRegistry(), recorded[0]
    job, output = latest.get("name", ""), latest.get("output", "")

    def gauge(name: str, meaning: str, values: Iterator[tuple[dict[str, str], float]]) -> None:
        labelled = list(values)
        family = Gauge(name, meaning, ["job_name", "output", *labelled[0][0]], registry=registry)
        for more, value in labelled:
            family.labels(job, output, *more.values()).set(value)

    gauge("tlg_run_state", "1 for the state of the latest run", _states(latest))
    gauge("tlg_run_images", "Images of the latest run by what became of them", _counts(latest))
    gauge("tlg_run_duration_seconds", "How long the latest run took so far", iter([({}, latest.get("seconds", 0.0))]))
    gauge("tlg_run_updated_timestamp_seconds", "Last sign of the latest run", iter([({}, _moment(latest))]))
    stages = sorted(latest.get("stage_seconds", {}).items())
    if stages:
        gauge(
            "tlg_run_stage_seconds",
            "Time that all workers of the latest run spent in a stage",
            (({"stage": stage}, seconds) for stage, seconds in stages),
        )
    if successes := [_moment(run) for run in recorded if run["state"] == "succeeded"]:
        gauge(
            "tlg_run_last_success_timestamp_seconds", "End of the last run that succeeded", iter([({}, successes[0])])
        )
    return registry


def _states(run: dict[str, Any]) -> Iterator[tuple[dict[str, str], float]]:
    for state in STATES:
        yield {"state": state}, float(run["state"] == state)


def _counts(run: dict[str, Any]) -> Iterator[tuple[dict[str, str], float]]:
    for name in COUNTS:
        yield {"outcome": name}, float(run.get(name, 0))


def _moment(run: dict[str, Any]) -> float:
    return datetime.fromisoformat(run["updated_at"]).timestamp()
