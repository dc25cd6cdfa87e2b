"""Routes of batch jobs: submitted, watched with the time they still take, stopped, and what they reported."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from deploy.endpoint import bodies, cluster_jobs
from deploy.endpoint.config import ServeConfig
from deploy.endpoint.described import body
from deploy.endpoint.examples import JOB
from deploy.endpoint.problems import ProblemError
from deploy.endpoint.service import Service
from tlg.answers.wire import JobState
from tlg.spec import AnnotateSpec

JobId = Annotated[str, PathParameter(pattern=r"^[a-z0-9-]{1,100}$")]
# A report is one file with its own styles and pictures; no script of it runs.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups"


class Run(BaseModel):
    """What a run of a job did, as its output records it."""

    run_id: str
    state: Literal["running", "silent", "succeeded", "stopped", "failed"]
    message: str = ""
    started_at: str = ""
    updated_at: str = ""
    seconds: float = 0
    seconds_left: float | None = None
    images: int = 0
    done: int = 0
    masks: int = 0
    absent: int = 0
    errors: int = 0


class Job(BaseModel):
    """A job that the cluster remembers; `run` is its newest run where this endpoint may read its output."""

    id: str
    status: Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
    message: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    output: str | None = None
    run: Run | None = None


class Jobs(BaseModel):
    """Newest first."""

    jobs: list[Job]


class Runs(BaseModel):
    """Newest first: one for each night of a nightly job."""

    runs: list[Run]


class Stopped(BaseModel):
    """`stopped` is False where the job had ended before."""

    stopped: bool


def router(config: ServeConfig, service: Service) -> APIRouter:
    routes = APIRouter(tags=["jobs"])

    @routes.get("/v1/jobs")
    async def list_jobs() -> Jobs:
        """The jobs that the cluster remembers, newest first, with how far they are."""
        return Jobs(jobs=[Job(**job) for job in await asyncio.to_thread(cluster_jobs.listed, config)])

    @routes.post("/v1/jobs", status_code=202, openapi_extra=body(JOB))
    async def submit(request: Request) -> JobState:
        """Run a job spec on the cluster; the same spec is the same job.

        `exemplars` names a stored set, or is `names://NAME,NAME` for a model that knows the names.
        """
        if not bodies.is_json(request):
            raise ProblemError(415, "media-type", "found multipart/form-data, expected application/json")
        spec = await bodies.read_json(request, AnnotateSpec)
        return await asyncio.to_thread(cluster_jobs.submit, spec, config, service.store)

    @routes.get("/v1/jobs/{job_id}")
    async def job(job_id: JobId) -> JobState:
        """The state of one job, and how far it is."""
        return await asyncio.to_thread(cluster_jobs.state, job_id, config)

    @routes.post("/v1/jobs/{job_id}/stop")
    async def stop(job_id: JobId) -> Stopped:
        """Ask a job to stop. What it committed stays; submitting it again goes on from there."""
        return Stopped(stopped=await asyncio.to_thread(cluster_jobs.stop, job_id, config))

    @routes.get("/v1/jobs/{job_id}/runs")
    async def runs(job_id: JobId) -> Runs:
        """The last runs that wrote to the job's output: its nights."""
        return Runs(runs=[Run(**run) for run in await asyncio.to_thread(cluster_jobs.runs_of, job_id, config)])

    @routes.get("/v1/jobs/{job_id}/report", response_class=HTMLResponse)
    async def report(job_id: JobId) -> Response:
        """The report of the job's output, a page that opens anywhere."""
        content = await asyncio.to_thread(cluster_jobs.report, job_id, config)
        return Response(content, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    return routes
