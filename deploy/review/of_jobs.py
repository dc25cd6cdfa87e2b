"""The review of a job's output at an endpoint: which session answers for it, and what its page may read."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from fastapi import APIRouter, Request

from deploy.endpoint import cluster_jobs
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.job_routes import JobId
from deploy.endpoint.service import Service
from deploy.review import routes
from jobs.output import catalogue as catalogues
from jobs.review.session import Session

PREFIX = "/v1/jobs/{job_id}/review"
PICTURES = 60
# A session holds the answers of its sample.
SESSIONS = 8
# Answers that came since are looked for this often, when the list of pictures is asked for.
LOOK_SECONDS = 30.0


class Sessions:
    """One session for each job whose output is looked at. Safe to use from several threads."""

    def __init__(self, output_of: Callable[[str], str], config: ServeConfig):
        self._output_of, self._config = output_of, config
        self._held: OrderedDict[str, tuple[Session, float]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, job_id: str, is_listed: bool) -> Session:
        """Whoever asks for the list is shown the answers of now; what is asked of a picture is about the same ones."""
        with self._lock:
            session, looked_at = self._held.pop(job_id, (None, 0.0))
            is_due = is_listed and time.monotonic() - looked_at > LOOK_SECONDS
            if session is None or (is_due and self._is_behind(session)):
                session = Session(self._output_of(job_id), PICTURES, self._config.access)
            self._held[job_id] = session, time.monotonic() if is_due else looked_at
            while len(self._held) > SESSIONS:
                self._held.popitem(last=False)
            return session

    def _is_behind(self, session: Session) -> bool:
        now = catalogues.load(session.catalogue.output, self._config.access)
        return now.fingerprint != session.catalogue.fingerprint


def router(config: ServeConfig, service: Service) -> APIRouter:
    sessions = Sessions(lambda job_id: cluster_jobs.output_of(job_id, config), config)

    async def session_of(job_id: JobId, request: Request) -> Session:
        return await service.stored(sessions.of, job_id, request.url.path.endswith("/review"))

    async def read(session: Session, uri: str) -> bytes:
        return await service.fetcher.read(uri)

    return routes.router(PREFIX, session_of, read)
