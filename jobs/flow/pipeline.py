"""The stages on Ray Data: units of work -> fetched and decoded images -> answers aside, and receipts for the driver.

Receipts carry the positions of their images; the driver counts those, so a task that Ray runs again after a lost
worker or node can neither double nor lose an answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from jobs.flow import nodes, vitals
from jobs.flow.logbook import Notes, shared_notes
from jobs.flow.segment import loaded_model, started_worker
from jobs.flow.stages import Stages
from jobs.flow.vitals import RayLost, Vitals
from jobs.flow.watched import Stalled, watched
from jobs.flow.work import Work
from tlg.errors import ClusterError, TlgError
from tlg.spec import WorkersSpec

log = logging.getLogger(__name__)
R = TypeVar("R")

# Blocks between stages: small enough to keep memory flat, large enough to be worth a task.
BLOCK_BYTES = 32 * 2**20
FETCH_MEMORY_BYTES = 512 * 2**20
OBJECT_STORE_BYTES = 512 * 2**20
EMBEDDED_DECODERS = 1
LOOK_SECONDS = 1.0
SHUTDOWN_SECONDS = 10.0
# In the text of the bare Exception with which Ray gives up on its own processes.
SLOW_START = "timed out during startup"


class OnRay:
    """See `jobs.flow.stages.Executor`; inside of a `ray_session`."""

    def __init__(self, stages: Stages, signs: Vitals):
        self._stages, self._vitals = stages, signs

    def receipts(self, work: Work, units: np.ndarray) -> Generator[pa.Table, None, None]:
        return receipts(self._stages, work, units, self._vitals)

    def call(self, action: Callable[..., R], *arguments: Any) -> R:
        """In a worker's process, beside everything else; here where Ray is lost."""
        import ray

        try:
            self._vitals.check()  # a GCS that is gone is waited for by whoever asks it
            answer = ray.remote(num_cpus=0)(action).remote(*arguments)
            while not ray.wait([answer], timeout=LOOK_SECONDS)[0]:
                self._vitals.check()
            return ray.get(answer)
        except RayLost:
            pass
        except ray.exceptions.RayTaskError as error:
            raise _own_error(error) from error
        except Exception as error:
            if not _was_raised_by_ray(error):
                raise
        return action(*arguments)


@contextlib.contextmanager
def ray_session(address: str | None, workers: WorkersSpec) -> Iterator[Vitals]:
    """Ray, as found: the running one, the one at `address` or in RAY_ADDRESS, else one of our own for this run."""
    import ray

    if ray.is_initialized():
        with losses_explained():
            yield vitals.of_this_driver(is_own=False)
        return
    address = address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address:
        connect(address=address, **quiet)
    else:
        # The workers may use every core; decoding needs a place beside them.
        cpus = max(os.cpu_count() or 1, int(np.ceil(workers.most * workers.cpus))) + EMBEDDED_DECODERS
        embedded = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        connect(num_cpus=cpus, **embedded, **quiet)
    try:
        catch_signals_again()
        _check_room(workers, is_embedded=not address)
        with losses_explained():
            yield vitals.of_this_driver(is_own=not address)
    except (RayLost, Stalled):
        # What does not answer may not end either.
        ending = threading.Thread(target=ray.shutdown, daemon=True)
        ending.start()
        ending.join(SHUTDOWN_SECONDS)
        raise
    except BaseException:
        ray.shutdown()
        raise
    else:
        ray.shutdown()


def catch_signals_again() -> None:
    """Ray takes SIGTERM over and prints a stack; a job that is stopped says so in a line of its own."""
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler):
            signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def losses_explained() -> Iterator[None]:
    """What Ray raises when its own processes are gone, in whatever type, as an error of the cluster."""
    try:
        yield
    except TlgError:
        raise
    except Exception as error:
        if _was_raised_by_ray(error):
            raise _own_error(error) from error
        raise


def _was_raised_by_ray(error: BaseException) -> bool:
    """By where it was raised: Ray's own losses come as RayError, bare Exception, RuntimeError or ConnectionError."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(name.split(".")[0] in ("ray", "grpc") for name in (type(error).__module__, *frames[-1:]))


def run_on_cluster(address: str, action: Callable[..., R], *arguments: Any, **options: Any) -> R:
    """Call `action` inside the cluster behind a ray:// address: a driver far away would be in every block's way.

    The cluster's nodes need the product installed; paths in the arguments are theirs.
    """
    import ray

    connect(address=address, log_to_driver=True, logging_level=logging.ERROR)
    try:
        return ray.get(ray.remote(num_cpus=0)(action).remote(*arguments, **options))
    except ray.exceptions.RayError as error:
        raise _own_error(error) from error
    finally:
        ray.shutdown()


def call_as_worker(workers: WorkersSpec, action: Callable[..., R], *arguments: Any) -> R:
    """Call `action` where a worker finds room, inside of a `ray_session`."""
    import ray

    room: dict[str, Any] = {"num_cpus": workers.cpus, "num_gpus": workers.gpus}
    if workers.memory_gb is not None:
        room["memory"] = workers.memory_gb * 2**30
    remote = ray.remote(**room)(action)
    try:
        return ray.get(remote.remote(*arguments))
    except ray.exceptions.RayError as error:
        raise _own_error(error) from error


def _check_room(workers: WorkersSpec, is_embedded: bool) -> None:
    """A worker that fits nowhere would be waited for without a word."""
    import ray

    there = ray.cluster_resources()
    if not workers.gpus and there.get("GPU", 0.0):
        log.warning("Ray has %g GPUs and workers.gpus is 0: the model runs on CPUs; set workers.gpus", there["GPU"])
    memory_gb, memory_there = workers.memory_gb or 0.0, there.get("memory", 0.0) / 2**30
    if memory_gb > memory_there:
        text = f"a worker needs {memory_gb:g} GB of memory, Ray has {memory_there:.3g} GB in all"
        if is_embedded:
            raise ClusterError(f"{text}; lower workers.memory_gb or run on a larger machine")
        log.warning("%s; waiting for nodes that the cluster may still add", text)
    for name, wanted in (("CPU", workers.cpus), ("GPU", workers.gpus)):
        if wanted > there.get(name, 0.0):
            text = f"a worker needs {wanted:g} {name}, Ray has {there.get(name, 0.0):g} in all"
            if is_embedded:
                raise ClusterError(f"{text}; lower workers.{name.lower()}s or run on a larger machine")
            log.warning("%s; waiting for nodes that the cluster may still add", text)


def connect(**options: Any) -> None:
    """`ray.init`, a second time where the first was too slow: on a busy machine Ray gives up after 30 s."""
    import ray

    if options["address"] == "local":
        nodes.need_no_home()
    for is_last in (False, True):
        try:
            ray.init(**options)
            return
        except Exception as error:  # Ray raises bare Exceptions here
            ray.shutdown()
            text = " ".join(str(error).split())
            is_slow = SLOW_START in text
            if is_slow and not is_last:
                continue
            if nodes.OTHER_VERSIONS in text:
                way_out = nodes.start_ours()
            elif options["address"] != "local":
                way_out = "check the address and the token"
            elif is_slow:
                way_out = "the machine is too busy: run again when it has less to do, or use a running Ray (--address)"
            else:
                way_out = "free some memory and disk, or use a running Ray (--address)"
            raise ClusterError(f"Ray at {options['address']} did not start: {text}; {way_out}") from None


def receipts(stages: Stages, work: Work, units: np.ndarray, signs: Vitals) -> Generator[pa.Table, None, None]:
    """See `jobs.flow.stages.Executor`."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    from jobs.flow.source import UnitSource

    nodes.check(stages.spec.model, stages.provenance.model_digest, work)
    for name in ("ray.data", "ray.data._internal"):  # the run prints its own progress
        logging.getLogger(name).setLevel(logging.ERROR)
    context = DataContext.get_current().copy()
    context.target_max_block_size = BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0  # a failure is a row; anything else must be seen
    context.execution_options.preserve_order = False
    workers = stages.spec.workers
    memory = {} if workers.memory_gb is None else {"memory": workers.memory_gb * 2**30}
    with DataContext.current(context), shared_notes() as notes:
        arguments = stages.worker_arguments()
        arguments |= {"exemplars": ray.put(stages.exemplars), "notes": notes}
        arguments |= {"model": stages.spec.model, "device": stages.spec.workers.device}
        # Asking for memory also keeps Ray Data from fusing this stage into the next one's workers.
        dataset = ray.data.read_datasource(
            UnitSource(stages.fetcher(work, notes), units),
            override_num_blocks=len(units),
            num_cpus=1,
            memory=FETCH_MEMORY_BYTES,
        )
        dataset = dataset.map_batches(
            _RemoteWorker,
            fn_constructor_kwargs=arguments,
            compute=ActorPoolStrategy(min_size=workers.min, max_size=workers.most),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            **memory,
        )
        tables = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        try:
            yield from watched(iter(tables), signs.check, notes.seconds_silent)
        except ray.exceptions.RayError as error:
            raise _own_error(error) from error


class _RemoteWorker:
    """A Worker whose exemplars are fetched from Ray's object store."""

    def __init__(self, model: str, device: str, exemplars: Any, notes: Notes, **arguments: Any):
        import ray

        name = str(ray.get_runtime_context().get_actor_id())
        loaded = loaded_model(name, notes, model, device)
        self._worker = started_worker(name, notes, model=loaded, exemplars=ray.get(exemplars), **arguments)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        return self._worker(table)


def _own_error(error: BaseException) -> BaseException:
    """What a worker raised, if it was meant for the user."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TlgError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    text = " ".join(str(error).split())[-2000:] or type(error).__name__
    return ClusterError(f"the pipeline stopped: {text}; what is committed stays, run again when Ray is there")
