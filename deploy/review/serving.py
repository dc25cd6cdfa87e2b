"""`tlg review`: the page's server, until Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable

import uvicorn

from deploy.endpoint.config import is_loopback
from deploy.guard.auth import ENVIRONMENT, Keys
from deploy.guard.listening import bound
from deploy.review.app import create_app
from jobs.review.session import Session
from tlg import store


def run(
    output: str, pictures: int, host: str, port: int, access: store.Access, show: Callable[[str], None] = print
) -> None:
    """Serve the page. Where other machines can reach it they need the key that its address carries."""
    session = Session(output, pictures, access)
    key = None if is_loopback(host) else (os.environ.get(ENVIRONMENT, "").partition(",")[0] or secrets.token_urlsafe())
    app = create_app(session, Keys([] if key is None else [key]))
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # The address is shown before the server accepts; whoever is faster than that waits and is not refused.
    listening = bound(host, port)
    shown = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    show(f"{len(session.pictures)} pictures to review at {shown}{'' if key is None else f'#key={key}'}")
    show("Ctrl-C ends it; every verdict is kept at once")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    # uvicorn raises the signal that ended it once more; what comes after the page is still to be said.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
