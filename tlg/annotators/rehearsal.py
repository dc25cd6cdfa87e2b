"""`model: dry-run` rehearses a job without a network: storage, workers and outputs are real, masks are not.

Everything brighter than the picture's mean is marked, under the first asked class. `dry-run:0.05` also
sleeps that many seconds per image, to rehearse scaling and deadlines.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tlg.annotators.protocol import AnnotateParams
from tlg.answers.objects import with_parts
from tlg.answers.records import Answer, answer_from_mask
from tlg.errors import SpecError
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture

DECIMALS = 3
DIGEST = "dry-run"  # the pace does not change the answers


class RehearsalLoader:
    """See `tlg.annotators.protocol.ModelLoader`; the name is the pace."""

    def load(self, name: str, device: str | None = None) -> RehearsalModel:
        try:
            return RehearsalModel(float(name or 0))
        except ValueError:
            raise SpecError(f"model dry-run:{name}: expected dry-run or dry-run:SECONDS_PER_IMAGE") from None

    def digest_of(self, name: str) -> str:
        return DIGEST


@dataclass(frozen=True)
class RehearsalModel:
    seconds_per_image: float
    digest: str = DIGEST

    def with_exemplars(self, exemplars: LoadedExemplars, params: AnnotateParams | None = None) -> RehearsalAnnotator:
        return RehearsalAnnotator(self, exemplars, params or AnnotateParams())


class RehearsalAnnotator:
    """The annotator of `model: dry-run`."""

    def __init__(self, model: RehearsalModel, exemplars: LoadedExemplars, params: AnnotateParams):
        self.seconds_per_image = model.seconds_per_image
        self.model_digest = model.digest
        self.exemplars_digest = exemplars.digest
        self.params = params
        self.class_names = exemplars.class_names

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        time.sleep(self.seconds_per_image * len(pictures))
        return [self._answers(picture, asked[i] if asked else None) for i, picture in enumerate(pictures)]

    def release_memory(self) -> None:
        """Nothing is held."""

    def healthy(self) -> bool:
        return True

    def _answers(self, picture: Picture, asked: Sequence[str] | None) -> list[Answer]:
        names = self.class_names if asked is None else [name for name in self.class_names if name in asked]
        bright_HW = picture.upscaled_mask(picture.pixels.mean(axis=2) > picture.pixels.mean())
        answers = []
        for position, name in enumerate(names):
            score = 1.0 if position == 0 else 0.0
            class_id = self.class_names.index(name) + 1
            answer = answer_from_mask(name, class_id, bright_HW, score, score, self.params.min_score)
            if self.params.objects:
                smallest = self.params.smallest_object
                answer = with_parts(answer, bright_HW, bright_HW, picture.pixels, smallest, DECIMALS)
            answers.append(answer)
        return answers
