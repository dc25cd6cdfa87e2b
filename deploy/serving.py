"""`tlg serve`: one machine, one command. Starts Ray here (or joins a cluster), serves, and drains on SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading

import typer

from deploy.app import build
from deploy.auth import checked_exposure, load_keys
from deploy.config import ServeConfig

APP_NAME = "tlg"
# The proxy gives up a little after the endpoint itself, which answers with a problem.
PROXY_GRACE_SECONDS = 5


def run(config: ServeConfig, address: str = "local") -> None:
    """Serve until a signal asks to stop; requests in flight are answered first."""
    checked_exposure(config, load_keys(config))  # before anything listens
    stop = threading.Event()
    start(config, address)
    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray, which brings handlers of its own
        signal.signal(number, lambda *_: stop.set())
    typer.echo(f"serving {config.model} on http://{config.host}:{config.port}  (API at /docs, Ctrl-C stops)")
    sys.stdout.flush()
    stop.wait()
    typer.echo("draining: requests in flight are answered, new ones are not taken")
    shut_down()


def start(config: ServeConfig, address: str = "local") -> None:
    import ray
    from ray import serve

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=True, logging_level="WARNING")
    serve.start(
        proxy_location="HeadOnly",
        http_options={
            "host": config.host,
            "port": config.port,
            "request_timeout_s": config.limits.timeout_seconds + PROXY_GRACE_SECONDS,
        },
    )
    serve.run(build(config), name=APP_NAME, route_prefix="/")


def shut_down() -> None:
    import ray
    from ray import serve

    serve.delete(APP_NAME)  # waits until the replicas have answered what they hold
    serve.shutdown()
    ray.shutdown()
