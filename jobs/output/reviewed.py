"""`review/figures.json`: what a review says about all answers, which the report shows."""

from __future__ import annotations

import json
from typing import Any

from tlg import store
from tlg.errors import StorageError

FOLDER = "review"


def write(output: str, figures: dict[str, Any], access: store.Access) -> str:
    uri = _uri(output)
    store.write(uri, json.dumps(figures, indent=1).encode(), access)
    return uri


def read(output: str, access: store.Access) -> dict[str, Any] | None:
    """None where nobody reviewed, or the file cannot be read: the next figures replace it."""
    try:
        figures = json.loads(store.read(_uri(output), access))
    except StorageError as error:
        if not error.missing:
            raise
        return None
    except ValueError:
        return None
    return figures if isinstance(figures, dict) and figures.keys() >= {"state", "all", "classes"} else None


def _uri(output: str) -> str:
    return f"{output.rstrip('/')}/{FOLDER}/figures.json"
