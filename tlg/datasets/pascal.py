"""Pascal-5i: PASCAL VOC 2012 (with SBD masks where `SegmentationClassAug` is there), 4 folds of 5 classes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from tlg.datasets.episodes import BACKGROUND, IGNORED, Photo, open_index_map
from tlg.errors import SpecError

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dining table",
    "dog",
    "horse",
    "motorbike",
    "person",
    "potted plant",
    "sheep",
    "sofa",
    "train",
    "tv monitor",
)
FOLDS = 4
CLASSES_PER_FOLD = len(VOC_CLASSES) // FOLDS


def pascal_novel_classes(fold: int) -> list[int]:
    """Ids (1..20, alphabetical) of a fold: 5f .. 5f + 4 when counted from 0."""
    if not 0 <= fold < FOLDS:
        raise SpecError(f"Pascal-5i has folds 0 to {FOLDS - 1}, found {fold}")
    return [fold * CLASSES_PER_FOLD + offset + 1 for offset in range(CLASSES_PER_FOLD)]


class PascalVOC:
    """`JPEGImages`, `SegmentationClassAug` or `SegmentationClass`, and the image lists of VOC 2012.

    `split` is "train" or "val". With SBD's masks the train list is every mask that is not in VOC's val list (the
    usual 10,582), else VOC's own train list; the val list is VOC's.
    """

    name = "pascal"

    def __init__(self, root: Path, split: str) -> None:
        self.root = root
        augmented = root / "SegmentationClassAug"
        self._labels = augmented if augmented.is_dir() else root / "SegmentationClass"
        if not self._labels.is_dir():
            raise SpecError(
                f"{root}: neither SegmentationClassAug nor SegmentationClass; expected a VOC2012 folder"
                " (JPEGImages, SegmentationClass, ImageSets/Segmentation)"
            )
        if split not in ("train", "val"):
            raise SpecError(f"Pascal has splits train and val, found {split!r}")
        self.split = split
        self.class_names = dict(enumerate(VOC_CLASSES, start=1))

    @cached_property
    def photos(self) -> list[Photo]:
        return [self._photo(name) for name in self._names()]

    def label_map(self, photo: Photo) -> np.ndarray:
        return open_index_map(self._labels / f"{photo.id}.png")

    def _names(self) -> list[str]:
        if self.split == "train" and self._labels.name == "SegmentationClassAug":
            held_out = set(self._list("val"))
            return sorted(path.stem for path in self._labels.glob("*.png") if path.stem not in held_out)
        return self._list(self.split)

    def _list(self, split: str) -> list[str]:
        file = self.root / "ImageSets" / "Segmentation" / f"{split}.txt"
        try:
            return file.read_text().split()
        except OSError as error:
            raise SpecError(f"{file}: {error}; expected VOC's list of image names") from None

    def _photo(self, name: str) -> Photo:
        shown = np.unique(open_index_map(self._labels / f"{name}.png"))
        classes = frozenset(int(index) for index in shown if index not in (BACKGROUND, IGNORED))
        return Photo(name, self.root / "JPEGImages" / f"{name}.jpg", classes)
