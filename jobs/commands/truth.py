"""What is known to be true about pictures: label maps, a folder of masks for each class, or a COCO file."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tlg import pictures, store
from tlg.errors import InputError, SpecError

CLASSES = "classes.json"
# Of label maps: pixels that do not count, as in Pascal VOC.
IGNORED = 255
LAYOUTS = (
    "a COCO file (.json), a folder of label maps with classes.json, or a folder <class>/<image>.png of masks; "
    "see docs/answers.md"
)


@dataclass(frozen=True)
class PictureTruth:
    """Masks by class, (H, W) bool each; a class without a mask is not in the picture."""

    height: int
    width: int
    masks: Mapping[str, np.ndarray]
    ignored: np.ndarray | None = None


class Truth(Protocol):
    @property
    def classes(self) -> frozenset[str]: ...

    def names(self) -> Iterable[str]:
        """The pictures, as the truth calls them."""
        ...

    def read(self, name: str) -> PictureTruth:
        """Raises InputError where it cannot be used."""
        ...


def load(place: str, access: store.Access) -> Truth:
    if place.endswith(".json"):
        return CocoTruth.load(place, access)
    entries = store.listed(place, "**/*.png", access)
    if not entries:
        raise SpecError(f"{place}: no PNG files below it; expected {LAYOUTS}")
    files = {entry.uri.removeprefix(f"{place.rstrip('/')}/"): entry.uri for entry in entries}
    if store.exists(f"{place.rstrip('/')}/{CLASSES}", access):
        return LabelMapTruth(files, _class_numbers(f"{place.rstrip('/')}/{CLASSES}", access), access)
    return MaskTruth.of(place, files, access)


@dataclass
class Names:
    """Finds the truth of an image by its path below the collection, or by its file's name where only one has it."""

    by_path: dict[str, str]
    by_name: dict[str, str]
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, truth: Truth) -> Names:
        by_path = {_without_suffix(name): name for name in truth.names()}
        counts = Counter(stem.rsplit("/", 1)[-1] for stem in by_path)
        by_name = {stem.rsplit("/", 1)[-1]: name for stem, name in by_path.items()}
        return cls(by_path, {stem: name for stem, name in by_name.items() if counts[stem] == 1})

    def find(self, place: str) -> str | None:
        """`place` is an image's path below the collection."""
        stem = _without_suffix(place)
        name = self.by_path.get(stem) or self.by_path.get(place) or self.by_name.get(stem.rsplit("/", 1)[-1])
        if name is not None:
            self.used.add(name)
        return name


@dataclass(frozen=True)
class LabelMapTruth:
    """`<image>.png`, a class's number for each pixel; `classes.json` says which class a number is."""

    files: Mapping[str, str]
    numbers: Mapping[int, str]
    access: store.Access

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(self.numbers.values())

    def names(self) -> Iterable[str]:
        return self.files

    def read(self, name: str) -> PictureTruth:
        label_HW = _index_map(store.read(self.files[name], self.access), self.files[name])
        masks = {
            self.numbers[number]: label_HW == number
            for number in np.unique(label_HW).tolist()
            if number in self.numbers
        }
        height, width = label_HW.shape
        return PictureTruth(height, width, masks, label_HW == IGNORED)


@dataclass(frozen=True)
class MaskTruth:
    """`<class>/<image>.png`, not black where the class is. A picture in no folder has no truth."""

    # image -> class -> file
    files: Mapping[str, Mapping[str, str]]
    classes: frozenset[str]
    access: store.Access

    @classmethod
    def of(cls, place: str, files: Mapping[str, str], access: store.Access) -> MaskTruth:
        by_image: dict[str, dict[str, str]] = {}
        for path, uri in files.items():
            class_name, separator, image = path.partition("/")
            if not separator:
                raise SpecError(
                    f"{place}: {path} lies in no class's folder, and there is no {CLASSES}; expected {LAYOUTS}"
                )
            by_image.setdefault(image, {})[class_name] = uri
        return cls(by_image, frozenset(name for of_image in by_image.values() for name in of_image), access)

    def names(self) -> Iterable[str]:
        return self.files

    def read(self, name: str) -> PictureTruth:
        masks = {
            class_name: pictures.decode_mask(store.read(uri, self.access))
            for class_name, uri in self.files[name].items()
        }
        sizes = {mask.shape for mask in masks.values()}
        if len(sizes) > 1:
            raise InputError(f"its masks have different sizes: {sorted(sizes)}")
        height, width = sizes.pop()
        return PictureTruth(height, width, masks)


@dataclass(frozen=True)
class CocoTruth:
    """COCO instances; the objects of a class are one mask, crowds do not count."""

    images: Mapping[str, Mapping[str, Any]]
    annotations: Mapping[int, list[Mapping[str, Any]]]
    categories: Mapping[int, str]

    @classmethod
    def load(cls, place: str, access: store.Access) -> CocoTruth:
        try:
            document = json.loads(store.read(place, access))
            images = {str(image["file_name"]): image for image in document["images"]}
            categories = {int(category["id"]): str(category["name"]) for category in document["categories"]}
            annotations: dict[int, list[Mapping[str, Any]]] = {}
            for annotation in document["annotations"]:
                annotations.setdefault(annotation["image_id"], []).append(annotation)
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"{place}: not COCO instances ({type(error).__name__}: {error}); expected images, categories and "
                "annotations"
            ) from None
        return cls(images, annotations, categories)

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(self.categories.values())

    def names(self) -> Iterable[str]:
        return self.images

    def read(self, name: str) -> PictureTruth:
        image = self.images[name]
        height, width = _number(image, "height"), _number(image, "width")
        masks: dict[str, np.ndarray] = {}
        ignored_HW = np.zeros((height, width), bool)
        for annotation in self.annotations.get(image["id"], []):
            drawn = _drawn(annotation, height, width)
            if annotation.get("iscrowd"):
                ignored_HW |= drawn
            else:
                class_name = self.categories.get(_number(annotation, "category_id"), "")
                masks[class_name] = masks.get(class_name, False) | drawn
        return PictureTruth(height, width, masks, ignored_HW)


def _number(entry: Mapping[str, Any], key: str) -> int:
    try:
        return int(entry[key])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"entry {entry.get('id')} has no number as {key}, found {entry.get(key)!r}") from None


def _drawn(annotation: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    try:
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, list):
            if not all(_is_ring(ring) for ring in segmentation) or not segmentation:
                raise ValueError("a polygon is a list of three points or more, [x1, y1, x2, y2, ...]")
            rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            rle = coco_mask.frPyObjects(segmentation, height, width)
        else:
            rle = segmentation
        drawn = coco_mask.decode(rle).astype(bool)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"annotation {annotation.get('id')} cannot be drawn: {error}") from None
    if drawn.shape != (height, width):
        raise InputError(f"annotation {annotation.get('id')} is {drawn.shape}, its image {(height, width)}")
    return drawn


def _is_ring(ring: Any) -> bool:
    return isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0


def _index_map(content: bytes, uri: str) -> np.ndarray:
    """(H, W) uint8 of a PNG with a palette or in grey."""
    try:
        image = Image.open(io.BytesIO(content), formats=["PNG"])
        if image.mode not in ("P", "L"):
            raise InputError(f"a label map has a palette or greys, this one is {image.mode}")
        return np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"not a PNG that can be read: {error}") from None


def _class_numbers(uri: str, access: store.Access) -> dict[int, str]:
    try:
        content = json.loads(store.read(uri, access))
        return {int(number): str(name) for number, name in content.items() if int(number) not in (0, IGNORED)}
    except (ValueError, AttributeError) as error:
        raise SpecError(f'{uri}: expected {{"1": "class name", ...}} ({error})') from None


def _without_suffix(place: str) -> str:
    path = PurePosixPath(place)
    return str(path.with_suffix("")) if path.name else place
