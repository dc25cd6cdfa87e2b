"""`model: dry-run` rehearses a job without a network: storage, workers and outputs are real, masks are not.

Everything brighter than the picture's mean is marked, under the first asked class. `dry-run:0.05` also
sleeps that many seconds per image, to rehearse scaling and deadlines.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tlg.annotate.protocol import AnnotateParams
from tlg.answers.records import Answer, answer_from_mask
from tlg.errors import SpecError
from tlg.exemplars import LoadedExemplars
from tlg.pictures import Picture

PREFIX = "dry-run"


def is_dry_run(model: str) -> bool:
    return model == PREFIX or model.startswith(PREFIX + ":")


class DryRunAnnotator:
    """The Annotator of `model: dry-run`."""

    def __init__(self, model: str, exemplars: LoadedExemplars, params: AnnotateParams):
        _, _, seconds = model.partition(":")
        try:
            self.seconds_per_image = float(seconds or 0)
        except ValueError:
            raise SpecError(f"model {model}: expected dry-run or dry-run:SECONDS_PER_IMAGE") from None
        self.model_digest = self.digest_of(model)
        self.exemplars_digest = exemplars.digest
        self.params = params
        self.class_names = exemplars.class_names

    @staticmethod
    def digest_of(model: str) -> str:
        return PREFIX  # the pace does not change the answers

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        time.sleep(self.seconds_per_image * len(pictures))
        return [self._answers(picture, asked[i] if asked else None) for i, picture in enumerate(pictures)]

    def _answers(self, picture: Picture, asked: Sequence[str] | None) -> list[Answer]:
        names = self.class_names if asked is None else [name for name in self.class_names if name in asked]
        bright_HW = picture.upscaled_mask(picture.pixels.mean(axis=2) > picture.pixels.mean())
        answers = []
        for position, name in enumerate(names):
            score = 1.0 if position == 0 else 0.0
            class_id = self.class_names.index(name) + 1
            answers.append(answer_from_mask(name, class_id, bright_HW, score, score, self.params.min_score))
        return answers
