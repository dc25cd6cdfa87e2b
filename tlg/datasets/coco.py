"""COCO-20i: COCO 2014 (or 2017), 4 folds of 20 classes; masks straight from the instances JSON."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from functools import cached_property
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from tlg.datasets.episodes import Photo
from tlg.errors import SpecError

FOLDS = 4
CLASSES = 80


def coco_novel_classes(fold: int) -> list[int]:
    """Ids (1..80 in category order) of a fold: f, f + 4, f + 8, ... when counted from 0."""
    if not 0 <= fold < FOLDS:
        raise SpecError(f"COCO-20i has folds 0 to {FOLDS - 1}, found {fold}")
    return [index + 1 for index in range(fold, CLASSES, FOLDS)]


class CocoInstances:
    """`annotations/instances_<split>.json` and the images in `<split>/`, for example split "train2014"."""

    name = "coco"

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        file = root / "annotations" / f"instances_{split}.json"
        if not file.is_file():
            raise SpecError(f"{file}: no such file; expected COCO's instances JSON (and images in {root / split})")
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its timings
            self._coco = COCO(str(file))
        categories = sorted(self._coco.loadCats(self._coco.getCatIds()), key=lambda category: category["id"])
        self.class_names = {index: category["name"] for index, category in enumerate(categories, start=1)}
        self._class_of_category = {category["id"]: index for index, category in enumerate(categories, start=1)}

    @cached_property
    def photos(self) -> list[Photo]:
        classes = defaultdict(set)
        for annotation in self._coco.dataset["annotations"]:
            if not annotation.get("iscrowd", 0):
                classes[annotation["image_id"]].add(self._class_of_category[annotation["category_id"]])
        return [
            Photo(str(image_id), self.root / self.split / image["file_name"], frozenset(classes[image_id]))
            for image_id, image in sorted(self._coco.imgs.items())
            if image_id in classes
        ]

    def label_map(self, photo: Photo) -> np.ndarray:
        """Instances painted large to small, so that an object in front of a bigger one keeps its pixels."""
        image = self._coco.imgs[int(photo.id)]
        label_HW = np.zeros((image["height"], image["width"]), np.uint8)
        annotations = self._coco.loadAnns(self._coco.getAnnIds(imgIds=int(photo.id), iscrowd=False))
        for annotation in sorted(annotations, key=lambda annotation: -annotation["area"]):
            mask_HW = self._coco.annToMask(annotation).astype(bool)
            label_HW[mask_HW] = self._class_of_category[annotation["category_id"]]
        return label_HW
