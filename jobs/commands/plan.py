"""`tlg plan`: what is to do, how long it takes and what it costs, from a small sample timed for real."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass

from jobs.flow import background, ledger, manifest
from jobs.flow.fetch import Fetcher
from jobs.flow.segment import Segmenter
from jobs.flow.work import plan_work
from jobs.output.runs import duration
from tlg import exemplars, store
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_model, model_digest
from tlg.answers.records import Provenance
from tlg.spec import AnnotateSpec

SAMPLE_IMAGES = 24
START_SECONDS = 30.0
NOT_FITTED = "not fitted yet"


@dataclass(frozen=True)
class Plan:
    """`seconds_per_image` is one worker's, model and exemplars loaded; None where nothing is to do."""

    listed: int
    images: int
    sampled: int
    fetch_seconds_per_image: float | None
    seconds_per_image: float | None
    workers: int
    price_per_hour: float | None
    remarks: tuple[str, ...] = ()

    def seconds(self, workers: int) -> float:
        return START_SECONDS + self.images * (self.seconds_per_image or 0.0) / workers

    def workers_for(self, deadline_seconds: float) -> int:
        """The fewest workers that end in time."""
        usable = max(1.0, deadline_seconds - START_SECONDS)
        return max(1, math.ceil(self.images * (self.seconds_per_image or 0.0) / usable))

    def lines(self, deadline_seconds: float) -> list[str]:
        return [*self._figures(deadline_seconds), *(f"note      {remark}" for remark in self.remarks)]

    def _figures(self, deadline_seconds: float) -> list[str]:
        if not self.images or self.seconds_per_image is None:
            return [f"{self.listed:,} images listed, nothing to do"]
        needed = self.workers_for(deadline_seconds)
        lines = [
            f"images    {self.images:,} to do of {self.listed:,}",
            f"sample    {self.sampled} images on this machine: {self.seconds_per_image * 1000:.1f} ms each for the "
            f"model, {1000 * (self.fetch_seconds_per_image or 0):.1f} ms to fetch and decode",
            f"time      about {duration(self.seconds(self.workers))} with {self.workers} workers",
            f"deadline  {needed:,} workers for {duration(deadline_seconds)}",
        ]
        if self.price_per_hour is not None:
            cost = self.price_per_hour * self.workers * self.seconds(self.workers) / 3600
            lines.append(f"cost      about {cost:,.2f}")
        return lines


def plan(spec: AnnotateSpec) -> Plan:
    """Count and time; nothing is written to the output. The sample runs on this machine, without Ray."""
    access = store.Access(spec.storage.endpoint, spec.storage.region)
    loaded = exemplars.load(spec.exemplars, access)
    model = model_digest(spec.model)
    ordinary = background.load_earlier(spec, model, access) if spec.run.background == "collection" else None
    # What has yet to be fitted has answered nothing.
    fitted = ordinary.digest if ordinary else NOT_FITTED
    params = AnnotateParams.of(spec, None if spec.run.background == "model" else fitted)
    provenance = Provenance(model, loaded.digest, params.digest(), "plan")
    done = ledger.load(spec.output.uri, provenance, access)
    with tempfile.TemporaryDirectory() as scratch:
        listed = manifest.listed(spec.images, access, spec.output.uri)
        work = plan_work(listed, done, loaded.class_names, scratch, store.DEFAULT_ACCESS)
        remarks = tuple(work.remarks())
        if not work.count:
            return Plan(work.listed, 0, 0, None, None, spec.workers.most, spec.run.price_per_hour, remarks)
        sampled = min(SAMPLE_IMAGES, work.count)
        fetcher = Fetcher(work, access, spec.run.max_pixels, spec.run.max_bytes)
        start = time.perf_counter()
        tables = list(fetcher.fetch(0, sampled))
        fetch_seconds = (time.perf_counter() - start) / sampled
    arrays = ordinary.arrays if ordinary else None
    network = load_model(spec.model, spec.workers.device)
    segmenter = Segmenter(network, loaded, params, provenance, spec.run.batch_size, background=arrays)
    list(segmenter(tables[0].slice(0, 1)))  # the first call pays for what later ones find ready
    start = time.perf_counter()
    for table in tables:
        list(segmenter(table))
    seconds = (time.perf_counter() - start) / sampled
    workers, price = spec.workers.most, spec.run.price_per_hour
    return Plan(work.listed, work.count, sampled, fetch_seconds, seconds, workers, price, remarks)
