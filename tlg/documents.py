"""How any document that a user writes is read: strictly, and with errors that name the nearest right key."""

from __future__ import annotations

import difflib
import json
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tlg.errors import SpecError


class Document(BaseModel):
    """Base of everything users write: unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


D = TypeVar("D", bound=Document)


def parse(kind: type[D], content: dict[str, Any], source: str) -> D:
    """`content` as a `kind`; raises SpecError listing every problem with its place and the nearest right key."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = [_explain(kind, problem) for problem in error.errors()]
        raise SpecError("\n".join(f"{source}: {problem}" for problem in problems)) from None


def read_text(text: str, source: str) -> dict[str, Any]:
    """A YAML or JSON mapping out of `text`; `source` is named in errors."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{source}: not valid YAML or JSON: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise SpecError(f"{source}: found {kind}, expected keys and values; `tlg schema` prints the format")
    return content


def apply_overrides(content: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """`--set a.b=value` on top of a document; values are read as YAML."""
    content = json.loads(json.dumps(content, default=str))
    for assignment in assignments:
        path, separator, value = assignment.partition("=")
        if not separator or not path:
            raise SpecError(f"--set {assignment}: expected key=value, for example --set run.min_score=0.6")
        node = content
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SpecError(f"--set {assignment}: `{parent}` is a value, not a group of keys")
        try:
            node[leaf] = yaml.safe_load(value)
        except yaml.YAMLError:  # `*.tif` and its like mean themselves
            node[leaf] = value
    return content


def _explain(kind: type[BaseModel], problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(kind, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key '{where}' ({hint})"
    if problem["type"] == "missing":
        return f"key '{where}' is missing"
    value = problem.get("input")
    shown = f" (found {value!r})" if isinstance(value, (str, int, float, bool)) else ""
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}{shown}" if where else f"{message}{shown}"


def _known_keys(kind: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        if isinstance(part, int):
            continue
        field = kind.model_fields.get(str(part))
        if field is None:
            continue
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                kind = candidate
    return list(kind.model_fields)
