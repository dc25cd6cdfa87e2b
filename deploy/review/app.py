"""What the review's page asks: the sample, its pictures and answers, and what is said about them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from PIL import Image
from pycocotools import mask as coco_mask
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.base import RequestResponseEndpoint
from starlette.staticfiles import StaticFiles

from deploy.endpoint import problems
from deploy.guard.auth import AccessMiddleware, Keys
from jobs.review import verdicts
from jobs.review.figures import lines
from jobs.review.session import Session
from tlg import pictures, store
from tlg.answers.formats import overlay
from tlg.answers.records import Rle
from tlg.errors import InputError

PAGE = Path(__file__).parent / "page"
OTHER_PAGE = Path(__file__).parents[1] / "page"
# Nothing but this very server is asked for anything, and no other page may show this one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# A person looks at a screen: no side of a picture needs more pixels.
LONGEST_SIDE = 2048
REQUESTS_AT_ONCE = 64
MAX_BODY = 64_000_000


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DrawnMask(Strict):
    """COCO's uncompressed run lengths: down the columns, unmarked first."""

    size: tuple[int, int]
    counts: list[int] = Field(max_length=20_000_000)


class SaidVerdict(Strict):
    class_name: str
    answer: str
    verdict: str
    mask: DrawnMask | None = None


class Said(Strict):
    reviewer: str = Field(min_length=1, max_length=100, pattern=r"\S")
    verdicts: list[SaidVerdict] = Field(min_length=1, max_length=2000)


def create_app(session: Session, keys: Keys) -> FastAPI:
    app = FastAPI(title="tlg review", docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
        if int(request.headers.get("content-length") or 0) > MAX_BODY:
            return Response(f"a body of at most {MAX_BODY:,} bytes is taken", 413, HEADERS)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    _add_page(app)
    _add_routes(app, session)
    app.add_middleware(AccessMiddleware, keys=keys, insecure=False, requests_per_key=REQUESTS_AT_ONCE)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/ui/rle.js")
    def masks() -> FileResponse:
        return FileResponse(OTHER_PAGE / "masks" / "rle.js", media_type="text/javascript")

    @app.get("/ui/icon.svg")
    def icon() -> FileResponse:
        return FileResponse(OTHER_PAGE / "icon.svg", media_type="image/svg+xml")

    app.mount("/ui", StaticFiles(directory=PAGE), name="ui")


def _add_routes(app: FastAPI, session: Session) -> None:
    @app.get("/api/review")
    def review() -> dict[str, Any]:
        session.refresh()
        held = session.holding()
        shown = [
            {
                "image_id": picture.image_id,
                "name": picture.image_uri.rsplit("/", 1)[-1],
                "left": sum((picture.image_id, row["class_name"]) not in held for row in picture.rows),
            }
            for picture in session.pictures.values()
        ]
        return {"output": session.catalogue.output, "pictures": shown}

    @app.get("/api/pictures/{image_id}")
    def picture(image_id: str) -> dict[str, Any]:
        shown, held = session.picture(image_id), session.holding()
        return {
            "image_id": image_id,
            "uri": problems.cleaned(shown.image_uri),
            "probability": shown.probability,
            "answers": [_answer(row, held.get((image_id, row["class_name"]))) for row in shown.rows],
        }

    @app.get("/api/pictures/{image_id}/image")
    def image(image_id: str) -> Response:
        content = store.read(session.picture(image_id).image_uri, session.access)
        return Response(_as_jpeg(content), media_type="image/jpeg")

    @app.post("/api/pictures/{image_id}/verdicts")
    def judge(image_id: str, said: Said) -> dict[str, Any]:
        made = [
            (verdict.class_name, verdict.answer, verdict.verdict, _as_rle(verdict.mask)) for verdict in said.verdicts
        ]
        others = session.judge(image_id, said.reviewer.strip(), made)
        return {
            "others": [
                {"class_name": other.class_name, "verdict": other.verdict, "reviewer": other.reviewer}
                for other in others
            ]
        }

    @app.get("/api/figures")
    def figures() -> dict[str, Any]:
        told = session.figures()
        return told | {"lines": list(lines(told))}


def _answer(row: dict[str, Any], verdict: verdicts.Verdict | None) -> dict[str, Any]:
    names = ("class_name", "class_id", "status", "score", "presence", "height", "width", "rle")
    said = None if verdict is None else {"verdict": verdict.verdict, "reviewer": verdict.reviewer, "rle": verdict.rle}
    colour = "#{:02x}{:02x}{:02x}".format(*overlay.colour(row["class_id"]))
    return {name: row[name] for name in names} | {
        "answer": verdicts.answer_digest(row),
        "colour": colour,
        "said": said,
    }


def _as_jpeg(content: bytes) -> bytes:
    decoded = pictures.guarded_decode(content)
    shown = Image.fromarray(decoded.pixels)
    shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    shown.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _as_rle(mask: DrawnMask | None) -> Rle | None:
    if mask is None:
        return None
    height, width = mask.size
    if min(height, width) < 1 or min(mask.counts, default=0) < 0 or sum(mask.counts) != height * width:
        raise InputError(f"the mask has {sum(mask.counts)} pixels, its size says {width}x{height}")
    encoded = coco_mask.frPyObjects({"size": [height, width], "counts": mask.counts}, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}
