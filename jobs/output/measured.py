"""Figures that people measured beside an output, which the report shows: of a review, and against a truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tlg import store
from tlg.errors import StorageError


@dataclass(frozen=True)
class FiguresFile:
    folder: str
    name: str

    def write(self, output: str, figures: dict[str, Any], access: store.Access) -> str:
        uri = self._uri(output)
        store.write(uri, json.dumps(figures, indent=1).encode(), access)
        return uri

    def read(self, output: str, access: store.Access) -> dict[str, Any] | None:
        """None where nobody measured, or the file cannot be read: the next figures replace it."""
        try:
            figures = json.loads(store.read(self._uri(output), access))
        except StorageError as error:
            if not error.missing:
                raise
            return None
        except ValueError:
            return None
        return figures if isinstance(figures, dict) and figures.keys() >= {"state", "all", "classes"} else None

    def _uri(self, output: str) -> str:
        return f"{output.rstrip('/')}/{self.folder}/{self.name}"


REVIEW = FiguresFile("review", "figures.json")
SCORE = FiguresFile("score", "score.json")
