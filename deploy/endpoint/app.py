"""The endpoint on Ray Serve: `serve run deploy.endpoint.app:build model=tlg-photo`, a RayService, or `tlg serve`.

Three deployments: `api` answers HTTP, `annotators` hold models and batch images across requests, `metrics` adds up.
"""

# No postponed annotations here: Serve reads the type of `build`'s argument to make a ServeConfig of a mapping.

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import ObjectRef, serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deploy.endpoint import logs, traces
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import PUSH_SECONDS, Collector, Meters
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore, PackedSet
from deploy.guard.auth import checked_exposure, load_keys
from deploy.replica.batching import Batcher
from deploy.replica.checking import Checked
from deploy.replica.decoding import Decoder
from deploy.replica.pool import AnnotatorPool, AskedSet, Outcome, Task, failed
from tlg.allocation import keep_freed_memory
from tlg.errors import TlgError
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture

RETRIES = 3
QUIET = {"enable_access_log": False}
DRAIN_SECONDS = 30.0
# A batch takes seconds; a model that is downloaded first takes minutes.
STUCK_SECONDS = 900.0
# An idle replica proves so often that it can still answer.
PROVEN_SECONDS = 60.0
# So long an answered image says that models can be asked.
ANSWERED_SECONDS = 10.0
# A task, its picture, and since when it waits.
Waiting = tuple[Task, Picture, float]
logger = logging.getLogger("tlg.serve")


def build(config: ServeConfig) -> serve.Application:
    """The application; refuses to serve other machines without API keys unless told so."""
    keys = load_keys(config)
    checked_exposure(config, keys)
    metrics = serve.deployment(name="metrics", ray_actor_options={"num_cpus": 0}, logging_config=QUIET)(
        Collector
    ).bind()
    replicas = config.replicas
    waiting = 2 * config.batching.size
    scaling: dict[str, Any] = {
        "autoscaling_config": {
            "min_replicas": replicas.min,
            "max_replicas": replicas.max,
            "target_ongoing_requests": waiting,
            "upscale_delay_s": 5,
            "downscale_delay_s": 120,
        }
    }
    if replicas.min == replicas.max:  # nothing to decide, so nothing is measured for it
        scaling = {"num_replicas": replicas.min}
    annotators = serve.deployment(
        name="annotators",
        max_ongoing_requests=2 * waiting,
        max_queued_requests=config.limits.queued,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        logging_config=QUIET,
        health_check_period_s=5,
        health_check_timeout_s=30,
        **scaling,
    )(AnnotatorsDeployment).bind(config, metrics)

    def build_api() -> Any:
        from deploy.endpoint.api import create_app

        logs.start(config.logs)
        traces.start("api")
        app_name = serve.get_replica_context().app_name
        meters = Meters("api")
        reporter = Reporter(meters, serve.get_deployment_handle("metrics", app_name))
        segmenter = ServeSegmenter(serve.get_deployment_handle("annotators", app_name), meters)
        return create_app(config, load_keys(config), segmenter, meters, reporter.scrape)

    api = serve.deployment(
        name="api",
        num_replicas=replicas.api,
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        logging_config=QUIET,
        health_check_period_s=5,
        health_check_timeout_s=30,
    )(serve.ingress(build_api)())
    return api.bind(annotators, metrics)


class Reporter:
    """Hands this process's counts to the collector, now and then and whenever somebody scrapes."""

    def __init__(self, meters: Meters, metrics: DeploymentHandle):
        self._meters, self._metrics = meters, metrics
        self._task: asyncio.Task[None] | None = None

    def keep_pushing(self) -> None:
        """Call it on the event loop; once is enough, more do no harm."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._push())

    async def scrape(self) -> str:
        self.keep_pushing()
        try:
            await asyncio.wait_for(self._metrics.push.remote(self._meters.source, self._meters.samples()), 3)
            return await asyncio.wait_for(self._metrics.text.remote(), 3)
        except (asyncio.TimeoutError, RayActorError, DeploymentUnavailableError, BackPressureError):
            # The collector is being replaced: what this process knows is better than nothing.
            alone = Collector()
            alone.push(self._meters.source, self._meters.samples())
            return alone.text()

    async def _push(self) -> None:
        while True:
            await asyncio.sleep(PUSH_SECONDS)
            try:
                await self._metrics.push.remote(self._meters.source, self._meters.samples())
            except (RayActorError, DeploymentUnavailableError, BackPressureError):
                logger.warning("the metrics collector does not answer; counts are kept and sent later")


class AnnotatorsDeployment:
    """One replica: decodes in processes beside it, batches what waits, runs the network in one thread of its own."""

    def __init__(self, config: ServeConfig, metrics: DeploymentHandle):
        import torch

        torch.set_num_threads(config.replicas.threads)
        keep_freed_memory()
        logs.start(config.logs)
        traces.start("annotators")
        self._meters = Meters("annotators")
        self._reporter = Reporter(self._meters, metrics)
        device = "cuda" if config.replicas.gpus else None
        store = ExemplarStore(config.store, config.access)
        self._pool = AnnotatorPool(store, config.replicas.annotators, device, self._meters)
        self._network_thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        # Looking at a set takes long: pictures do not wait for it.
        self._check_thread = ThreadPoolExecutor(1, thread_name_prefix="check")
        self._batching = config.batching
        self._decoder = Decoder()
        self._batcher: Batcher[Waiting, Outcome] | None = None  # made on the event loop
        self._busy_since: float | None = None
        self._proven_at = time.monotonic()

    async def annotate(self, task: Task) -> Outcome:
        self._reporter.keep_pushing()
        if self._batcher is None:
            self._batcher = Batcher(self._answered, self._batching.size, self._batching.wait_ms / 1000)
            self._meters.waiting.set_function(lambda: self._batcher.waiting if self._batcher else 0)
        with traces.span("annotate", task.trace) as span:
            span.tell(tlg_model=task.model, tlg_exemplars=task.exemplars.digest)
            try:
                with self._meters.stages.labels("decode").time(), traces.span("decode"):
                    picture = await self._decoder(task.content, task.params.max_pixels)
            except TlgError as error:
                return failed(error)
            with traces.span("wait and network"):
                # Its pixels go on; its bytes need not wait for the network.
                return await self._batcher((replace(task, content=b""), picture, time.perf_counter()))

    async def _answered(self, batch: Sequence[Waiting]) -> list[Outcome]:
        began = time.perf_counter()
        for _, _, since in batch:
            self._meters.stages.labels("wait").observe(began - since)
        self._busy_since = time.monotonic()
        try:
            with self._meters.stages.labels("annotate").time():
                return await asyncio.get_running_loop().run_in_executor(
                    self._network_thread, self._pool.answer, [(task, picture) for task, picture, _ in batch]
                )
        finally:
            self._busy_since, self._proven_at = None, time.monotonic()

    async def check(self, model: str, exemplars: AskedSet) -> Checked:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._check_thread, self._pool.check, model, exemplars)

    async def ready(self) -> bool:
        self._reporter.keep_pushing()
        return await self._decoder.works()

    async def check_health(self) -> None:
        """Serve asks every few seconds and replaces a replica that raises."""
        self._reporter.keep_pushing()
        if not await self._decoder.works():
            raise RuntimeError("pictures are no longer decoded here")
        if self._busy_since is not None and time.monotonic() - self._busy_since > STUCK_SECONDS:
            raise RuntimeError(f"a batch has been in the network for more than {STUCK_SECONDS:g} s")
        if self._pool.is_suspect or self._is_unproven():
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(self._network_thread, self._pool.works):
                raise RuntimeError("the annotators can no longer answer")
            self._proven_at = time.monotonic()

    def _is_unproven(self) -> bool:
        """Idle, and nothing was answered for a while: a real answer is asked for, which costs one small picture."""
        return self._busy_since is None and time.monotonic() - self._proven_at > PROVEN_SECONDS


@dataclass(frozen=True)
class SharedSet:
    """An exemplar set in Ray's object store: a task carries where it is, a replica that needs it fetches it once."""

    reference: ObjectRef

    def load(self) -> LoadedExemplars:
        return ray.get(self.reference).load()


class ServeSegmenter:
    """Asks the annotators; an image whose replica died is sent to another one."""

    def __init__(self, annotators: DeploymentHandle, meters: Meters):
        self._annotators, self._meters = annotators, meters
        self._answered_at = float("-inf")

    async def annotate(self, task: Task) -> Outcome:
        for attempt in range(RETRIES + 1):
            try:
                outcome = await self._annotators.annotate.remote(task)
                self._answered_at = time.monotonic()
                return outcome
            except BackPressureError:
                raise ProblemError(503, "busy", "too many images are waiting", {"Retry-After": "1"}) from None
            except (RayActorError, DeploymentUnavailableError):
                if attempt == RETRIES:
                    break
                self._meters.retries.inc()
                await asyncio.sleep(0.2 * 2**attempt)
        raise ProblemError(503, "no-replica", "no model replica could answer", {"Retry-After": "5"})

    async def share(self, packed: PackedSet) -> SharedSet:
        return SharedSet(await asyncio.to_thread(ray.put, packed))

    async def check(self, model: str, exemplars: AskedSet) -> Checked:
        try:
            return await self._annotators.check.remote(model, exemplars)
        except BackPressureError:
            raise ProblemError(503, "busy", "too many images are waiting", {"Retry-After": "2"}) from None
        except (RayActorError, DeploymentUnavailableError):
            raise ProblemError(503, "no-replica", "the replica that looked was lost", {"Retry-After": "5"}) from None

    async def ready(self) -> bool:
        if time.monotonic() - self._answered_at < ANSWERED_SECONDS:
            return True  # an image was answered just now: what better probe is there
        try:
            return await asyncio.wait_for(self._annotators.ready.remote(), 5)
        except BackPressureError:
            return True  # a full queue is work in progress
        except (asyncio.TimeoutError, RayActorError, DeploymentUnavailableError):
            return False
