"""Good and bad answers of an evaluation, to look at: one picture a fold and number of shots.

    tlg evaluate configs/accuracy/evaluate.yaml --dump ANSWERS
    python -m tlg.evaluation.sheets configs/accuracy/evaluate.yaml ANSWERS OUT

For every class the best answer, the middling one and the worst: the query with its true outline (white) and the answer
(coloured), under it the IoU. The photographs are the benchmark's and stay on this machine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tlg import documents, store
from tlg.answers.formats import overlay
from tlg.datasets.episodes import Episode, open_image
from tlg.datasets.sources import EvaluationSet
from tlg.training.spec import EvaluateSpec

CELL, CAPTION = 200, 16


def write_sheets(config: str, answers: Path, out: Path) -> list[Path]:
    spec = documents.parse(EvaluateSpec, documents.read_text(store.read_text(config), config), config)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for fold in spec.folds or spec.benchmark.folds():
        for shots in spec.shots:
            evaluation = spec.benchmark.evaluation(fold, shots, spec.episodes, spec.seed)
            name = f"{fold}_{shots}shot"
            masks = [
                np.asarray(Image.open(answers / f"{name}_{i:03d}.png")) > 0 for i in range(len(evaluation.episodes))
            ]
            written.append(out / f"{name}.jpg")
            sheet(evaluation, masks).save(written[-1])
    return written


def sheet(evaluation: EvaluationSet, masks: Sequence[np.ndarray]) -> Image.Image:
    """A row per class, its best, middling and worst answer from left to right."""
    whole = Image.new("RGB", (3 * CELL, len(evaluation.novel_classes) * (CELL + CAPTION)), "white")
    for row, class_id in enumerate(evaluation.novel_classes):
        of_class = [index for index, episode in enumerate(evaluation.episodes) if episode.class_id == class_id]
        truths = {
            index: evaluation.collection.label_map(evaluation.episodes[index].query) == class_id for index in of_class
        }
        scores = {index: iou(masks[index], truths[index]) for index in of_class}
        ranked = sorted(of_class, key=lambda index: scores[index], reverse=True)
        for column, index in enumerate((ranked[0], ranked[len(ranked) // 2], ranked[-1])):
            place = (column * CELL, row * (CELL + CAPTION))
            picture = drawn(evaluation.episodes[index], masks[index], truths[index])
            whole.paste(picture, (place[0], place[1] + CELL - picture.height))
            caption = f"{evaluation.collection.class_names[class_id]}  IoU {100 * scores[index]:.0f}"
            ImageDraw.Draw(whole).text((place[0] + 4, place[1] + CELL + 2), caption, fill="black")
    return whole


def iou(answer_HW: np.ndarray, truth_HW: np.ndarray) -> float:
    return float((answer_HW & truth_HW).sum() / max(1, (answer_HW | truth_HW).sum()))


def drawn(episode: Episode, answer_HW: np.ndarray, truth_HW: np.ndarray) -> Image.Image:
    pixels = overlay.tinted(open_image(episode.query.image), answer_HW)
    pixels[outline(truth_HW)] = 255
    picture = Image.fromarray(pixels)
    picture.thumbnail((CELL, CELL))
    return picture


def outline(mask_HW: np.ndarray) -> np.ndarray:
    image = Image.fromarray(mask_HW.astype(np.uint8) * 255)
    return np.asarray(image.filter(ImageFilter.MaxFilter(3))) != np.asarray(image.filter(ImageFilter.MinFilter(3)))


if __name__ == "__main__":
    for path in write_sheets(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])):
        print(path)
