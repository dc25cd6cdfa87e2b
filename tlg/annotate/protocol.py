"""What an annotator is: a model that holds an exemplar set and answers batches of pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

from tlg.answers.records import Answer
from tlg.documents import Document
from tlg.pictures import Picture


class AnnotateParams(Document):
    """Everything besides model and exemplars that an answer depends on."""

    min_score: float = 0.5
    max_pixels: int = 50_000_000

    def digest(self) -> str:
        text = json.dumps(self.model_dump(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Annotator(Protocol):
    """Holds a model and an encoded exemplar set; answers batches. Same input, same answer, in any batch."""

    model_digest: str
    exemplars_digest: str
    params: AnnotateParams
    class_names: tuple[str, ...]

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        """One answer per picture and asked class (all classes where `asked` is None), in class order."""
        ...
