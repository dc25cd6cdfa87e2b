"""The batch job: list, leave out what is done, run the pipeline, commit as answers arrive, write what follows.

`python -m jobs.annotate SPEC.yaml` is the entrypoint of a Ray job, the same as `tlg annotate SPEC.yaml`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from jobs.entry import finished, read_spec
from jobs.flow import background, deferred, ledger, manifest, pipeline
from jobs.flow.execution import Execution
from jobs.flow.progress import Progress
from jobs.flow.stages import Stages, images_per_unit
from jobs.flow.work import Work, plan_work
from jobs.output import catalogue as catalogues
from jobs.output import departed, exports, leftovers, quarantine, runs, webhook
from jobs.output.aside import Aside
from jobs.output.catalogue import Catalogue
from jobs.output.identity import NumberSet
from jobs.output.lease import Lease
from jobs.output.runs import RunSummary, duration
from jobs.output.writer import ShardWriter
from jobs.receiver import Receiver
from tlg import exemplars, store
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import model_digest
from tlg.answers.records import Provenance
from tlg.errors import StorageError, TlgError, TooManyErrors
from tlg.spec import AnnotateSpec

log = logging.getLogger(__name__)

RECORD_SECONDS = 5.0
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
            job.progress.close()
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
    recorded_at: float = field(default_factory=time.monotonic)

    def run(self, lease: Lease, only_failed: bool, force: bool) -> None:
        spec, summary, output = self.spec, self.summary, self.spec.output.uri
        exports.check(spec)
        self._tidy(lease)
        catalogue = catalogues.load(output, self.access, keep=True)
        with Execution(spec, self.address, self.progress.wait) as execution:
            if not catalogue.shards:
                execution.prepare()
            stages = self._stages(lease)
            execution.introduce(stages)
            self._do_what_is_missing(execution, stages, catalogue, lease, only_failed, force)
        self.tally.tick()
        exports.write(spec, summary, catalogue)
        leftovers.remove_work(output, lease.number, self.access)
        if summary.deferred:
            raise StorageError(
                f"{summary.deferred:,} of {summary.images:,} images could not be fetched for now; "
                "everything else is committed, run again to get them",
                transient=True,
            )

    def _stages(self, lease: Lease) -> Stages:
        spec, summary = self.spec, self.summary
        loaded = exemplars.load(spec.exemplars, self.access)
        model = model_digest(spec.model)
        ordinary = self._ordinary(model)
        params = AnnotateParams.of(spec, ordinary.digest if ordinary else None)
        provenance = Provenance(model, loaded.digest, params.digest(), summary.run_id)
        summary.digests = {
            "model": provenance.model_digest,
            "exemplars": provenance.exemplars_digest,
            "params": provenance.params_digest,
        }
        if ordinary:
            summary.digests["background"] = ordinary.digest
        aside = Aside(f"{leftovers.work_folder(spec.output.uri, lease.number)}/aside", self.access)
        arrays = ordinary.arrays if ordinary else None
        return Stages(spec, loaded, params, provenance, self.access, aside, arrays)

    def _ordinary(self, model: str) -> background.CollectionBackground | None:
        if self.spec.run.background == "model":
            return None
        before = background.load_earlier(self.spec, model, self.access)
        if before is None:
            self.progress.say("looking at pictures of the collection, to see what is ordinary in it")
        return before or background.fit_and_keep(self.spec, model, self.access, self.address)

    def _do_what_is_missing(
        self,
        execution: Execution,
        stages: Stages,
        catalogue: Catalogue,
        lease: Lease,
        only_failed: bool,
        force: bool,
    ) -> None:
        spec, summary, output = self.spec, self.summary, self.spec.output.uri
        done = ledger.of(catalogue, stages.provenance)
        seen = NumberSet()
        work = plan_work(
            manifest.listed(
                spec.images, self.access, spec.output.uri, f"{output.rstrip('/')}/{manifest.archives.FOLDER}"
            ),
            done,
            stages.exemplars.class_names,
            leftovers.work_folder(output, lease.number),
            self.access,
            only_failed,
            force,
            seen,
            deferred.load(spec.output.uri, self.access),
            execution.expect,
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
                summary.workers = spec.workers.most
                self._answer(execution, stages, work, writer)
        finally:
            lease.confirm()
            writer.drop_superseded()
            quarantine.write(catalogue)
            departed.write(output, gone, self.access)

    def _tidy(self, lease: Lease) -> None:
        """What runs before this one left behind; only the confirmed holder of the lease may remove it."""
        lease.confirm()
        runs.close_unfinished(self.spec.output.uri, self.summary.run_id, self.access)
        leftovers.remove_older_work(self.spec.output.uri, lease.number, self.access)
        leftovers.sweep_temporaries(self.spec.output.uri, self.access)

    def _answer(self, execution: Execution, stages: Stages, work: Work, writer: ShardWriter) -> None:
        executor = execution.executor(work)
        receiver = Receiver(work.count, stages.aside.folder, executor, self.tally, writer)
        per_unit = images_per_unit(work, self.spec.workers.most)
        try:
            for _ in range(ROUNDS):
                units = _units_with_missing(work.units(per_unit), receiver.received)
                if not len(units):
                    break
                with contextlib.closing(executor.receipts(work, units)) as tables:
                    for table in tables:
                        receiver.take(table)
                        self._tell(int(np.count_nonzero(receiver.received)))
                        receiver.judge(self.spec.run.max_error_rate)
        finally:
            receiver.commit()
            is_whole = bool(receiver.received.all())
            deferred.record(self.spec.output.uri, receiver.deferred, is_whole, self.access)
        if not receiver.received.all():
            missing = int((~receiver.received).sum())
            raise StorageError(f"{missing:,} images were lost on the way; run again to get them", transient=True)

    def _tell(self, received: int) -> None:
        """Whoever looks at the screen at once, whoever looks at the record every few seconds."""
        self.progress.update(received)
        if time.monotonic() - self.recorded_at >= RECORD_SECONDS:
            self.recorded_at = time.monotonic()
            self.tally.tick()
            _record(self.summary, self.access)


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
        code = finished(spec, lambda: annotate(spec, given.address, given.only_failed, given.force))
    except TlgError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
