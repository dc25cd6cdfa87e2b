"""The batch job: list, leave out what is done, run the pipeline, commit as answers arrive, write what follows.

`python -m jobs.annotate SPEC.yaml` is the entrypoint of a Ray job, the same as `tlg annotate SPEC.yaml`.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import logging
import signal
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.entry import finished, read_spec
from jobs.flow import deferred, ledger, manifest, pipeline
from jobs.flow.progress import Progress
from jobs.flow.segment import TRACE_SCHEMA
from jobs.output import catalogue as catalogues
from jobs.output import departed, exports, leftovers, quarantine, runs, webhook
from jobs.output.identity import NumberSet
from jobs.output.lease import Lease
from jobs.output.runs import RunSummary, duration
from jobs.output.writer import ShardWriter
from tlg import exemplars, store
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import model_digest
from tlg.answers import records
from tlg.answers.records import Provenance
from tlg.errors import StorageError, TlgError, TooManyErrors
from tlg.spec import AnnotateSpec

log = logging.getLogger(__name__)

# Early answers are safe within seconds; a long run still makes few files.
FIRST_COMMIT_SECONDS = 2.0
LONGEST_COMMIT_SECONDS = 60.0
COMMIT_GROWTH = 1.5
ROWS_PER_COMMIT = 100_000
BYTES_PER_COMMIT = 128 * 2**20
# Error rates are judged as if at least so many images (or all, if fewer) had been tried.
FEWEST_IMAGES_JUDGED = 1000
RECORD_SECONDS = 5.0
SLOWEST_KEPT = 20
# Images that got lost with a node although their tasks were repeated are asked for again so many times.
ROUNDS = 3


def annotate(
    spec: AnnotateSpec,
    address: str | None = None,
    only_failed: bool = False,
    force: bool = False,
) -> RunSummary:
    """Run the job to its end; raises a TlgError when it could not. What is committed stays in either case."""
    if address and address.startswith("ray://"):
        return pipeline.run_on_cluster(address, annotate, spec, only_failed=only_failed, force=force)
    access = store.Access(spec.storage.endpoint, spec.storage.region)
    summary = runs.begin(spec, runs.new_run_id())
    summary.only_failed = only_failed
    tally = runs.Tally(summary, spec.run.price_per_hour)
    job = _Job(spec, address, access, summary, tally, Progress(summary))
    with Lease(spec.output.uri, summary.run_id, access) as lease:
        try:
            job.run(lease, only_failed, force)
            summary.state = "succeeded"
        except BaseException as error:
            stopped = isinstance(error, (KeyboardInterrupt, TooManyErrors))
            summary.state = "stopped" if stopped else "failed"
            summary.message = str(error) or type(error).__name__
            raise
        finally:
            tally.tick()
            summary.seconds_left = None
            _record(summary, access)
            _announce(spec, summary)
    return summary


@dataclass
class _Job:
    spec: AnnotateSpec
    address: str | None
    access: store.Access
    summary: RunSummary
    tally: runs.Tally
    progress: Progress

    def run(self, lease: Lease, only_failed: bool, force: bool) -> None:
        spec, summary, output = self.spec, self.summary, self.spec.output.uri
        exports.check(spec)
        params = AnnotateParams.of(spec)
        loaded = exemplars.load(spec.exemplars, self.access)
        provenance = Provenance(model_digest(spec.model), loaded.digest, params.digest(), summary.run_id)
        summary.digests = {
            "model": provenance.model_digest,
            "exemplars": provenance.exemplars_digest,
            "params": provenance.params_digest,
        }
        self._tidy(lease)
        catalogue = catalogues.load(output, self.access, keep=True)
        done = ledger.of(catalogue, provenance)
        seen = NumberSet()
        work = manifest.plan_work(
            manifest.listed(
                spec.images, self.access, spec.output.uri, f"{output.rstrip('/')}/{manifest.archives.FOLDER}"
            ),
            done,
            loaded.class_names,
            leftovers.work_folder(output, lease.number),
            self.access,
            only_failed,
            force,
            seen,
            deferred.load(spec.output.uri, self.access),
        )
        gone = done.known[~seen.has(done.known)]
        summary.listed, summary.images, summary.replaced = work.listed, work.count, work.replaced
        summary.departed = len(gone)
        summary.left_out, summary.nothing_asked = dict(work.left_out), work.nothing_asked
        for remark in work.remarks():
            log.warning("%s", remark)
        self.progress.say(f"{work.listed:,} images listed, {work.count:,} to do")
        writer = ShardWriter(catalogue, lease)
        try:
            if work.count:
                summary.workers = spec.workers.max
                stages = pipeline.Stages(spec, loaded, params, provenance, self.access)
                self.progress.say(f"starting {spec.workers.min} to {spec.workers.max} workers")
                with pipeline.ray_session(self.address, spec.workers):
                    _catch_signals_again()
                    self._answer(stages, work, writer)
        finally:
            lease.confirm()
            writer.drop_superseded()
            quarantine.write(catalogue)
            departed.write(output, gone, self.access)
        self.tally.tick()
        exports.write(spec, summary, catalogue)
        leftovers.remove_work(output, lease.number, self.access)
        if summary.deferred:
            raise StorageError(
                f"{summary.deferred:,} of {summary.images:,} images could not be fetched for now; "
                "everything else is committed, run again to get them",
                transient=True,
            )

    def _tidy(self, lease: Lease) -> None:
        """What runs before this one left behind; only the confirmed holder of the lease may remove it."""
        lease.confirm()
        runs.close_unfinished(self.spec.output.uri, self.summary.run_id, self.access)
        leftovers.remove_older_work(self.spec.output.uri, lease.number, self.access)
        leftovers.sweep_temporaries(self.spec.output.uri, self.access)

    def _answer(self, stages: pipeline.Stages, work: manifest.Work, writer: ShardWriter) -> None:
        receiver = _Receiver(self, work, writer)
        per_unit = pipeline.images_per_unit(work, self.spec.workers.max)
        try:
            for _ in range(ROUNDS):
                units = _units_with_missing(work.units(per_unit), receiver.received)
                if not len(units):
                    break
                with contextlib.closing(pipeline.answers(stages, work, units)) as tables:
                    for table in tables:
                        receiver.take(table)
        finally:
            receiver.commit()
            is_whole = bool(receiver.received.all())
            deferred.record(self.spec.output.uri, receiver.deferred, is_whole, self.access)
        if not receiver.received.all():
            missing = int((~receiver.received).sum())
            raise StorageError(f"{missing:,} images were lost on the way; run again to get them", transient=True)


class _Receiver:
    """Takes tables as they arrive, each image once, and commits them in ever larger shards."""

    def __init__(self, job: _Job, work: manifest.Work, writer: ShardWriter):
        self.received = np.zeros(work.count, bool)
        self.deferred: list[str] = []
        self._job, self._writer = job, writer
        self._waiting: list[pa.Table] = []
        self._partial: dict[int, pa.Table] = {}
        self._waiting_images = 0
        self._interval = FIRST_COMMIT_SECONDS
        self._committed_at = self._recorded_at = time.monotonic()

    def take(self, table: pa.Table) -> None:
        """Rows as a task gave them; those of an image that the task has not given whole wait for the rest."""
        table = self._whole(table.filter(pa.array(~self.received[table["position"].to_numpy()])))
        positions = table["position"].to_numpy()
        if not len(positions):
            return
        self.received[positions] = True
        self._count(table, positions)
        kept = table.filter(pc.invert(table["deferred"]))
        self._waiting.append(kept.select(records.SCHEMA.names))
        self._waiting_images += len(np.unique(kept["position"].to_numpy()))
        now = time.monotonic()
        if (
            now - self._committed_at >= self._interval
            or sum(map(len, self._waiting)) >= ROWS_PER_COMMIT
            or sum(one.nbytes for one in self._waiting) >= BYTES_PER_COMMIT
        ):
            self.commit()
            self._interval = min(LONGEST_COMMIT_SECONDS, self._interval * COMMIT_GROWTH)
        self._job.progress.update(int(np.count_nonzero(self.received)))
        if now - self._recorded_at >= RECORD_SECONDS:
            self._recorded_at = now
            self._job.tally.tick()
            _record(self._job.summary, self._job.access)
        self._judge()

    def _whole(self, table: pa.Table) -> pa.Table:
        """The rows of the images that are complete, with those of theirs that came earlier.

        Ray may cut a table anywhere, and a task that runs again gives its rows again.
        """
        whole, cut = _complete(table)
        for position in self._partial.keys() & set(whole["position"].to_pylist()):
            del self._partial[position]
        if not cut:
            return whole
        tables = [whole]
        for position in cut:
            rows = table.filter(pc.equal(table["position"], position))
            known = self._partial.get(position)
            if known is not None:
                is_new = pc.invert(pc.is_in(_row_keys(rows), _row_keys(known).combine_chunks()))
                rows = pa.concat_tables([known, rows.filter(is_new)])
            if len(rows) == rows["rows"][0].as_py():
                tables.append(rows)
                self._partial.pop(position, None)
            else:
                self._partial[position] = rows
        return pa.concat_tables(tables)

    def commit(self) -> None:
        if sum(map(len, self._waiting)):
            self._job.summary.rows += self._writer.commit(pa.concat_tables(self._waiting))
            self._job.summary.shards += 1
            self._job.summary.done += self._waiting_images
        self._waiting, self._waiting_images = [], 0
        self._committed_at = time.monotonic()

    def _count(self, table: pa.Table, positions: np.ndarray) -> None:
        firsts = np.unique(positions, return_index=True)[1]
        images = table.select(["image_uri", *TRACE_SCHEMA.names]).take(firsts)
        deferred_uris = images.filter(images["deferred"])["image_uri"].to_pylist()
        self.deferred += deferred_uris
        self._job.summary.deferred += len(deferred_uris)
        answered = table.filter(pc.invert(table["deferred"]))
        of_classes = answered.filter(pc.is_null(answered["part"]))
        statuses = {one["values"]: one["counts"] for one in pc.value_counts(of_classes["status"]).to_pylist()}
        error_types = answered["error_type"].drop_null().to_pylist()
        stages = {name: images[f"{name}_seconds"].to_numpy() for name in ("fetch", "decode", "segment")}
        self._job.tally.add(statuses, error_types, {name: float(values.sum()) for name, values in stages.items()})
        total = np.sum(list(stages.values()), axis=0)
        top = np.argsort(total)[-SLOWEST_KEPT:]
        found = [(round(float(total[one]), 3), images["image_uri"][int(one)].as_py()) for one in top]
        self._job.summary.slowest = heapq.nlargest(SLOWEST_KEPT, [*self._job.summary.slowest, *found])

    def _judge(self) -> None:
        summary, rate = self._job.summary, self._job.spec.run.max_error_rate
        tried = int(np.count_nonzero(self.received))
        allowed = rate * max(tried, min(summary.images, FEWEST_IMAGES_JUDGED))
        if summary.errors > allowed:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.error_types.items())
            raise TooManyErrors(
                f"{summary.errors:,} of {tried:,} images failed ({kinds}), more than run.max_error_rate {rate:g} "
                f"allows; see {summary.output}/quarantine, then mend the images or raise the rate"
            )
        if summary.deferred > max(allowed, 10):
            raise StorageError(
                f"{summary.deferred:,} of {tried:,} images could not be fetched although each was tried for minutes; "
                "what is committed stays, run again when the store answers",
                transient=True,
            )


def _row_keys(table: pa.Table) -> pa.ChunkedArray:
    """Class and part: what tells the rows of an image apart."""
    texts = (table["class_id"].cast(pa.string()), pc.fill_null(table["part"], 0).cast(pa.string()))
    return pc.binary_join_element_wise(*texts, "/")


def _complete(table: pa.Table) -> tuple[pa.Table, list[int]]:
    """The rows of images that are there whole, and the positions of the others."""
    positions, places, counts = np.unique(table["position"].to_numpy(), return_inverse=True, return_counts=True)
    is_whole = counts[places] == table["rows"].to_numpy()
    return table.filter(pa.array(is_whole)), np.unique(positions[places[~is_whole]]).tolist()


def _units_with_missing(units: np.ndarray, received: np.ndarray) -> np.ndarray:
    return units[[not received[start : start + count].all() for start, count in units]]


def _announce(spec: AnnotateSpec, summary: RunSummary) -> None:
    outcome = f"{summary.state}: {summary.message}" if summary.message else summary.state
    facts = {"images": summary.done, "masks": summary.masks, "errors": summary.errors}
    webhook.notify(spec.deploy.webhook, spec.name, outcome, facts | {"took": duration(summary.seconds)})


def _record(summary: RunSummary, access: store.Access) -> None:
    try:
        summary.write(access)
    except StorageError as error:  # the record of a run must not end it
        log.warning("the record of the run could not be written: %s", error)


def _catch_signals_again() -> None:
    """Ray takes SIGTERM over and prints a stack; a job that is stopped says so in a line of its own."""
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler):
            signal.signal(signal.SIGTERM, handler)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jobs.annotate", description="The same as `tlg annotate`.")
    parser.add_argument("spec", nargs="?")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--images")
    parser.add_argument("--exemplars")
    parser.add_argument("--classes")
    parser.add_argument("--out")
    parser.add_argument("--address")
    parser.add_argument("--only-failed", action="store_true")
    parser.add_argument("--force", action="store_true")
    return parser.parse_args()


def main() -> None:
    given = _arguments()
    try:
        spec = read_spec(given.spec, given.images, given.exemplars, given.classes, given.out, given.overrides)
        code = finished(lambda: annotate(spec, given.address, given.only_failed, given.force))
    except TlgError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
