"""The endpoint on Ray Serve: `serve run deploy.endpoint.app:build model=tlg-tiny`, a RayService, or `tlg serve`.

Three deployments: `api` answers HTTP, `annotators` hold models and batch images across requests, `metrics` adds up.
"""

# No postponed annotations here: Serve reads the type of `build`'s argument to make a ServeConfig of a mapping.

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deploy.endpoint.config import ServeConfig
from deploy.endpoint.metrics import PUSH_SECONDS, Collector, Meters
from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore
from deploy.guard.auth import checked_exposure, load_keys
from deploy.replica.batching import Batcher
from deploy.replica.pool import DECODING_THREADS, AnnotatorPool, Outcome, Task, failed
from tlg import pictures
from tlg.errors import TlgError
from tlg.pictures import Picture

RETRIES = 3
QUIET = {"enable_access_log": False}
DRAIN_SECONDS = 30.0
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

        _log_requests()
        app_name = serve.get_replica_context().app_name
        meters = Meters()
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


def _log_requests() -> None:
    """A line per request on the replica's standard error; Serve's own access log would say it twice."""
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


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
    """One replica: decodes in threads, batches what is waiting, runs the network in one thread of its own."""

    def __init__(self, config: ServeConfig, metrics: DeploymentHandle):
        import torch

        torch.set_num_threads(config.replicas.threads)
        self._meters = Meters()
        self._reporter = Reporter(self._meters, metrics)
        device = "cuda" if config.replicas.gpus else None
        store = ExemplarStore(config.store, config.access)
        self._pool = AnnotatorPool(store, config.replicas.annotators, device, self._meters)
        self._network_thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._decoding_threads = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode")
        self._batching = config.batching
        self._batcher: Batcher[tuple[Task, Picture], Outcome] | None = None  # made on the event loop

    async def annotate(self, task: Task) -> Outcome:
        self._reporter.keep_pushing()
        loop = asyncio.get_running_loop()
        try:
            picture = await loop.run_in_executor(
                self._decoding_threads, pictures.decode, task.content, task.params.max_pixels
            )
        except TlgError as error:
            return failed(error)
        if self._batcher is None:
            self._batcher = Batcher(self._answered, self._batching.size, self._batching.wait_ms / 1000)
        return await self._batcher((task, picture))

    async def _answered(self, batch: Sequence[tuple[Task, Picture]]) -> list[Outcome]:
        return await asyncio.get_running_loop().run_in_executor(self._network_thread, self._pool.answer, batch)

    async def ready(self) -> bool:
        return True


class ServeSegmenter:
    """Asks the annotators; an image whose replica died is sent to another one."""

    def __init__(self, annotators: DeploymentHandle, meters: Meters):
        self._annotators, self._meters = annotators, meters

    async def annotate(self, task: Task) -> Outcome:
        for attempt in range(RETRIES + 1):
            try:
                return await self._annotators.annotate.remote(task)
            except BackPressureError:
                raise ProblemError(503, "busy", "too many images are waiting", {"Retry-After": "1"}) from None
            except (RayActorError, DeploymentUnavailableError):
                if attempt == RETRIES:
                    break
                self._meters.retries.inc()
                await asyncio.sleep(0.2 * 2**attempt)
        raise ProblemError(503, "no-replica", "no model replica could answer", {"Retry-After": "5"})

    async def ready(self) -> bool:
        try:
            return await asyncio.wait_for(self._annotators.ready.remote(), 5)
        except (asyncio.TimeoutError, RayActorError, DeploymentUnavailableError, BackPressureError):
            return False
