"""Writes docs/configuration.md from the schemas of what users write: `make docs` and `make configuration`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

PAGE = Path(__file__).parent / "configuration.md"
HEAD = """# Configuration reference

This page is made from the schemas by `make configuration`. Unknown keys are errors that name the nearest right key.
`tlg schema` prints the JSON schema of the job spec for editors.

A key with a dot is a key of a group: `run.min_score` is `run: {min_score: 0.6}` in the file, and
`--set run.min_score=0.6` on the command line.
"""


def documents() -> list[tuple[str, str, type[BaseModel]]]:
    """Title, what the document is for, and its model."""
    from deploy.endpoint.config import ServeConfig
    from tlg.exemplars import ExemplarDocument
    from tlg.spec import AnnotateSpec
    from tlg.training.spec import EvaluateSpec, TrainSpec

    return [
        ("The job spec", "`tlg annotate SPEC`, `validate`, `plan`, `submit`, `render`, `schedule`", AnnotateSpec),
        ("The exemplar set", "The file that a job's `exemplars` names; a folder needs none", ExemplarDocument),
        ("The endpoint", "`tlg serve CONFIG`", ServeConfig),
        ("Training", "`tlg train CONFIG`", TrainSpec),
        ("Evaluation", "`tlg evaluate CONFIG`", EvaluateSpec),
    ]


def written() -> str:
    parts = [HEAD]
    for title, purpose, model in documents():
        schema = model.model_json_schema()
        rows = "\n".join(rows_of(schema, schema.get("$defs", {}), ""))
        parts.append(f"## {title}\n\n{purpose}.\n\n| key | type | default | meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def rows_of(schema: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[str]:
    required = set(schema.get("required", []))
    for name, field in schema.get("properties", {}).items():
        key = f"{prefix}{name}"
        default = "required" if name in required else shown(field.get("default"))
        group = group_of(field, definitions)
        meaning = field.get("description") or (group or {}).get("description") or ""
        if group is not None:
            kind = "list of groups" if field.get("type") == "array" else "group"
            yield row(key, kind, default if name in required else "", meaning)
            yield from rows_of(group, definitions, f"{key}[]." if field.get("type") == "array" else f"{key}.")
        else:
            yield row(key, type_of(field, definitions), default, meaning)


def group_of(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The model behind a key, where its value is a group of keys or a list of such groups."""
    for candidate in (field, *field.get("anyOf", []), *field.get("allOf", []), field.get("items", {})):
        reference = candidate.get("$ref", "").rsplit("/", 1)[-1]
        if "properties" in definitions.get(reference, {}):
            return definitions[reference]
    return None


def type_of(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in field:
        return type_of(definitions[field["$ref"].rsplit("/", 1)[-1]], definitions)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        kinds = [type_of(option, definitions) for option in field["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "prefixItems" in field:
        return f"`[{', '.join(type_of(item, definitions) for item in field['prefixItems'])}]`"
    if field.get("type") == "array":
        return f"list of {type_of(field.get('items', {}), definitions)}"
    return {"object": "mapping", "integer": "whole number"}.get(field.get("type", ""), field.get("type", "any"))


def shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "empty" if default in ([], {}, "") else f"`{default}`"


def row(*cells: str) -> str:
    key, *others = cells
    return f"| `{key}` | " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in others) + " |"


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    PAGE.write_text(written())


if __name__ == "__main__":
    main()
