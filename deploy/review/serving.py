"""`tlg review`: the page's server, until Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable

import uvicorn

from deploy.endpoint.config import is_loopback
from deploy.guard.auth import ENVIRONMENT, Keys
from deploy.review.app import create_app
from jobs.review.session import Session
from tlg import store
from tlg.errors import SpecError


def run(
    output: str, pictures: int, host: str, port: int, access: store.Access, show: Callable[[str], None] = print
) -> None:
    """Serve the page. Where other machines can reach it they need the key that its address carries."""
    session = Session(output, pictures, access)
    key = None if is_loopback(host) else (os.environ.get(ENVIRONMENT, "").partition(",")[0] or secrets.token_urlsafe())
    app = create_app(session, Keys([] if key is None else [key]))
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    bound = _bound(host, port)
    shown = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}/"
    show(f"{len(session.pictures)} pictures to review at {shown}{'' if key is None else f'#key={key}'}")
    show("Ctrl-C ends it; every verdict is kept at once")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    # uvicorn raises the signal that ended it once more; what comes after the page is still to be said.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[bound])


def _bound(host: str, port: int) -> socket.socket:
    """A free port is taken where `port` is 0."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        # The address is shown before the server accepts; whoever is faster than that waits and is not refused.
        bound.listen()
    except OSError as error:
        raise SpecError(f"--host {host} --port {port}: {error}; choose another with --port") from None
    return bound
