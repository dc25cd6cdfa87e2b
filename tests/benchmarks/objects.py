"""Objects in crowded scenes of the drawn world: are they counted right, and what does COCO say of them?

Two classes that the network of tlg-tiny never saw are in each scene; it is shown three exemplars of either.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
from crowds import Crowd, crowd
from harness import Row
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_model
from tlg.answers.records import Answer, encode_mask
from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars
from tlg.pictures import Picture
from tlg.spec import SMALLEST_OBJECT
from tlg.world import NOVEL, scene

SCENES = 200
SCENES_PER_SET = 10
SEED = 7
SIZE = 256
SHOTS = 3
RIGHT_IOU = 0.8


def exemplar_set(seed: list[int], names: tuple[str, ...]) -> LoadedExemplars:
    def shown(part: int, among: list[str], required: str | None) -> np.ndarray:
        return scene(np.random.default_rng([*seed, part]), SIZE, among, required).image

    classes = tuple(
        LoadedClass(
            name,
            number,
            None,
            (),
            tuple(LoadedExemplar(f"{name}{k}", shown(10 * number + k, list(NOVEL), name)) for k in range(SHOTS)),
        )
        for number, name in enumerate(names, start=1)
    )
    others = [name for name in NOVEL if name not in names]
    negatives = tuple(LoadedExemplar(f"negative{k}", shown(90 + k, others, None)) for k in range(2))
    return LoadedExemplars("crowds", classes, negatives, "crowds")


def answered(scenes: int) -> list[tuple[Crowd, Answer]]:
    """Every class of every scene."""
    model = load_model("tlg-tiny", "cpu")
    params = AnnotateParams(objects=True)
    found = []
    for group in range(scenes // SCENES_PER_SET):
        names = tuple(np.random.default_rng([SEED, group]).choice(list(NOVEL), 2, replace=False).tolist())
        annotator = model.with_exemplars(exemplar_set([SEED, group], names), params)
        for number in range(SCENES_PER_SET):
            shown = crowd(np.random.default_rng([SEED, group, 100 + number]), names, SIZE)
            (answers,) = annotator.annotate([Picture(shown.image, SIZE, SIZE)])
            found += [(shown, answer) for answer in answers]
    return found


def visible(shown: Crowd, name: str) -> list[np.ndarray]:
    """Objects as small as those that are left out are not counted."""
    return [mask for mask in shown.masks(name) if mask.sum() >= SMALLEST_OBJECT]


def is_right(shown: Crowd, answer: Answer) -> bool:
    truth = np.any([np.zeros((SIZE, SIZE), bool), *shown.masks(answer.class_name)], axis=0)
    union = (truth | answer.mask).sum()
    return bool(union) and (truth & answer.mask).sum() / union >= RIGHT_IOU


def average_precision(found: list[tuple[Crowd, Answer]]) -> float:
    """COCO's mask AP over IoU 0.5 to 0.95; every scene and class is an image of its own."""
    truths, guesses = [], []
    for image, (shown, answer) in enumerate(found, start=1):
        for mask in visible(shown, answer.class_name):
            rle = encode_mask(mask)
            area, box = int(mask.sum()), coco_mask.toBbox({**rle, "counts": rle["counts"].encode()}).tolist()
            truths.append({"segmentation": rle, "area": area, "bbox": box, "iscrowd": 0, "id": len(truths) + 1})
            truths[-1] |= {"image_id": image, "category_id": 1}
        for part in answer.parts:
            guesses.append({"segmentation": part.rle, "score": part.score, "image_id": image, "category_id": 1})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        images = [{"id": image, "height": SIZE, "width": SIZE} for image in range(1, len(found) + 1)]
        truth.dataset = {"info": {}, "images": images, "categories": [{"id": 1, "name": "object"}]}
        truth.dataset["annotations"] = truths
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(guesses), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def measure(scenes: int = SCENES) -> list[Row]:
    found = answered(scenes)
    right = [(shown, answer) for shown, answer in found if answer.status == "mask" and is_right(shown, answer)]
    misses = np.array([len(answer.parts) - len(visible(shown, answer.class_name)) for shown, answer in right])
    inputs = f"{len(right)} masks of IoU >= {RIGHT_IOU:g} among {len(found)} answers in {scenes} scenes"
    return [
        Row("objects: count right within one", float((abs(misses) <= 1).mean()), "share", ">= 0.85", inputs=inputs),
        Row("objects: count exactly right", float((misses == 0).mean()), "share", inputs=inputs),
        Row("objects: COCO AP where the mask is right", average_precision(right), "AP", inputs=inputs),
        Row("objects: COCO AP", average_precision(found), "AP", inputs=f"{len(found)} answers"),
    ]


if __name__ == "__main__":
    for row in measure():
        print(f"{row.what}: {row.value:.3f} {row.aim} ({row.inputs})")
