"""What `tlg annotate` and `python -m jobs.annotate` share: the spec as it was given, signals, the last line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.output.lease import Lease
from jobs.output.runs import RunSummary, close_unfinished, ending
from jobs.supervisor import supervised
from tlg import store
from tlg.errors import SpecError
from tlg.exemplars import address_of_names
from tlg.spec import AnnotateSpec, load_annotate_spec, short_spec

INTERRUPTED = 130


def read_spec(
    spec: str | None,
    images: str | None,
    exemplars: str | None,
    classes: str | None,
    out: str | None,
    overrides: list[str],
) -> AnnotateSpec:
    """The spec file, or one made of the folders that a job needs at least; `classes` are names without exemplars."""
    if spec is not None:
        if images or exemplars or classes or out:
            raise SpecError("give a spec file, or --images, --exemplars (or --classes) and --out; not both")
        return load_annotate_spec(spec, overrides)
    if exemplars and classes:
        raise SpecError("give --exemplars, or --classes where there are none; the classes of a set are its folders")
    shown = address_of_names(classes) if classes else exemplars
    if not (images and shown and out):
        raise SpecError("give a spec file, or all of --images, --exemplars (or --classes) and --out")
    return short_spec(images, shown, out, overrides)


def finished(spec: AnnotateSpec, run: Callable[[], RunSummary]) -> int:
    """Run to the end and print it; the code to leave with. What went wrong is raised as it is."""
    return supervised(lambda: _finished(run), lambda: _close_record(spec))


def _finished(run: Callable[[], RunSummary]) -> int:
    with _terminated_like_interrupted():
        try:
            summary = run()
        except KeyboardInterrupt:
            print("stopped; what is committed stays, run again to go on", file=sys.stderr)
            return INTERRUPTED
    print(ending(summary))
    return 0


def _close_record(spec: AnnotateSpec) -> None:
    """Of a run that could not do it itself."""
    access = store.Access(spec.storage.endpoint, spec.storage.region)
    with Lease(spec.output.uri, "closing", access):
        close_unfinished(spec.output.uri, "closing", access, "Ray ended the run")


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Clusters stop a job with SIGTERM: what has arrived is committed and the lease given back, as with Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
