"""How routes that read their bodies themselves tell the OpenAPI document what they take."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

REFERENCE = "#/components/schemas/{model}"


def body(example: BaseModel, form: type[BaseModel] | None = None) -> dict[str, Any]:
    """The JSON model of the example, with the example; and the multipart form that says the same."""
    written = example.model_dump(mode="json", exclude_unset=True)
    content: dict[str, Any] = {"application/json": _of(type(example)) | {"example": written}}
    if form is not None:
        content["multipart/form-data"] = _of(form)
    return {"requestBody": {"required": True, "content": content}}


def _of(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}
