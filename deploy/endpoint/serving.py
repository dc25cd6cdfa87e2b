"""`tlg serve`: one machine, one command. Starts Ray here (or joins a cluster), serves, and drains on SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

import ray
import typer
from ray import serve
from ray.exceptions import RayError

from deploy.endpoint.app import build
from deploy.endpoint.config import ServeConfig
from deploy.guard.auth import checked_exposure, load_keys
from deploy.guard.listening import bound
from jobs.flow.pipeline import connect
from tlg.errors import ClusterError

APP_NAME = "tlg"
# The proxy gives up a little after the endpoint itself, which answers with a problem.
PROXY_GRACE_SECONDS = 5


def run(config: ServeConfig, address: str = "local") -> None:
    """Serve until a signal asks to stop; requests in flight are answered first."""
    checked_exposure(config, load_keys(config))  # before anything listens
    if address == "local":
        bound(config.host, config.port).close()  # Ray would stumble over a taken port a minute later
    stop = threading.Event()
    typer.echo(f"starting Ray and {config.model}: about a minute on a small machine")
    sys.stdout.flush()
    join(address)
    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray, which brings handlers of its own
        signal.signal(number, lambda *_: stop.set())
    start(config)
    typer.echo(f"serving {config.model} on http://{config.host}:{config.port}  (API at /docs, Ctrl-C stops)")
    sys.stdout.flush()
    stop.wait()
    typer.echo("draining: requests in flight are answered, new ones are not taken")
    shut_down()


def join(address: str) -> None:
    """Start Ray here (`local`) or join a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Serve gives up on its HTTP proxy after three times five seconds; a busy machine takes longer to start it.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    # Serve's controller looks after the replicas this often; its usual tenth of a second costs 4 % of a core.
    os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5")
    local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    connect(address=address, logging_level=logging.WARNING, **local)


def start(config: ServeConfig) -> None:
    """Serve's proxy and the application; on a busy machine a second time before it is given up."""
    for is_last in (False, True):
        try:
            serve.start(
                proxy_location="HeadOnly",
                http_options={
                    "host": config.host,
                    "port": config.port,
                    "request_timeout_s": config.limits.timeout_seconds + PROXY_GRACE_SECONDS,
                },
                logging_config={"log_level": "WARNING"},
            )
            serve.run(build(config), name=APP_NAME, route_prefix="/")
            return
        except (RuntimeError, TimeoutError, RayError) as error:
            text = " ".join(str(error).split())[-500:]
            if is_last:
                ray.shutdown()
                raise ClusterError(
                    f"the endpoint did not start: {text}; if the port {config.port} is free and the model loads "
                    "(`tlg doctor`), the machine is too busy: start it again when there is less to do"
                ) from None
            typer.echo(f"the endpoint did not start, trying once more: {text}", err=True)
            serve.shutdown()


def shut_down() -> None:
    serve.delete(APP_NAME)  # waits until the replicas have answered what they hold
    serve.shutdown()
    ray.shutdown()
