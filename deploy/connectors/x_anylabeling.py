"""X-AnyLabeling's remote server: point its `server_url` here and choose an exemplar set as the model."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError

from deploy.endpoint.config import ServeConfig
from deploy.endpoint.problems import ProblemError, explain_validation, problem_of
from deploy.endpoint.schema import AnnotateRequest, Content
from deploy.endpoint.service import Service
from tlg.annotators.protocol import AnnotateParams
from tlg.answers.formats import polygon
from tlg.answers.records import decode_mask
from tlg.errors import TlgError

RUN_BUTTON = {"name": "button_run", "value": None}


class Asked(BaseModel):
    """X-AnyLabeling sends more parameters than concern us."""

    model: str = Field(description="An exemplar set's name")
    image: str = Field(description="Base64 or a data: URI")
    params: dict[str, Any] | None = {}


def router(config: ServeConfig, service: Service) -> APIRouter:
    routes = APIRouter(tags=["X-AnyLabeling"])

    @routes.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "healthy", "models_loaded": 1, "timestamp": datetime.now(timezone.utc).isoformat()}

    @routes.get("/v1/models")
    async def models() -> dict[str, Any]:
        """Every stored exemplar set is a model to X-AnyLabeling."""
        return {"success": True, "data": {stored.name: _described(stored.name) for stored in await service.list_sets()}}

    @routes.get("/v1/models/{name}/info")
    async def info(name: str) -> dict[str, Any]:
        try:
            stored = await service.get_set(name)
        except ProblemError as problem:
            return _refusal("MODEL_NOT_FOUND", problem.detail)
        return {"success": True, "data": {"model_id": stored.name} | _described(stored.name)}

    @routes.post("/v1/predict")
    async def predict(asked: Asked, request: Request) -> dict[str, Any]:
        try:
            wanted = AnnotateRequest(
                image=Content(data=asked.image, name="image"), exemplars=asked.model, min_score=_threshold(asked.params)
            )
            rows, _ = await service.annotate(wanted, request.scope["tlg.request_id"])
        except ValidationError as error:
            return _refusal("INVALID_IMAGE", explain_validation(error))
        except ValueError:
            return _refusal("INVALID_IMAGE", "conf_threshold is not a number")
        except (ProblemError, TlgError) as error:
            problem = error if isinstance(error, ProblemError) else problem_of(error)
            if problem.status >= 500 or problem.status == 429:
                raise problem from None
            kind = "MODEL_NOT_FOUND" if problem.kind == "no-such-exemplar-set" else "INVALID_IMAGE"
            return _refusal(kind, problem.detail)
        shapes = [shape for row in rows if row["status"] == "mask" for shape in _shapes(row)]
        return {"success": True, "data": {"shapes": shapes, "description": "", "replace": True}}

    return routes


def _threshold(params: dict[str, Any] | None) -> float:
    """Left out, the usual minimum score; out of range or no number, an error."""
    asked = (params or {}).get("conf_threshold")
    return AnnotateParams().min_score if asked is None else float(str(asked))


def _shapes(row: dict[str, Any]) -> list[dict[str, Any]]:
    rings = polygon.from_mask(decode_mask(row["rle"]))
    return [
        {
            "label": row["class_name"],
            "shape_type": "polygon",
            "points": [list(point) for point in zip([*ring[::2], ring[0]], [*ring[1::2], ring[1]], strict=True)],
            "score": row["score"],
            "attributes": {},
            "description": None,
            "difficult": False,
            "direction": 0,
            "flags": None,
            "group_id": number if len(rings) > 1 else None,
            "kie_linking": [],
        }
        for number, ring in [(row["class_id"], ring) for ring in rings]
    ]


def _described(name: str) -> dict[str, Any]:
    threshold = {"name": "edit_conf", "value": AnnotateParams().min_score}
    return {
        "display_name": f"tlg: {name}",
        "widgets": [RUN_BUTTON, threshold],
        "capabilities": {},
        "params": {"conf_threshold": AnnotateParams().min_score},
        "batch_processing_mode": "default",
    }


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"success": False, "error": {"code": code, "message": message}}
