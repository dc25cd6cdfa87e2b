"""Plain folders: images beside index label maps, and image/mask pairs in one folder per group."""

from __future__ import annotations

import json
from collections.abc import Collection as Ids
from functools import cached_property
from pathlib import Path

import numpy as np

from tlg.datasets.episodes import IGNORED, Photo, open_index_map
from tlg.errors import InputError, SpecError
from tlg.pictures import EXTENSIONS, decode_mask


class IndexMapFolder:
    """`images/*`, `labels/<same stem>.png` (palette index = class) and `classes.json` {index: name}.

    An index named "void" in `classes.json` is ignored. Label maps of `unread` photographs are never opened and
    these photographs are not among `photos`: what an evaluation keeps to itself stays closed.
    """

    def __init__(self, root: Path, unread: Ids[str] = ()) -> None:
        self.root, self.name, self.unread = root, root.name, frozenset(unread)
        file = root / "classes.json"
        try:
            names = {int(index): name for index, name in json.loads(file.read_text()).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise SpecError(f"{file}: {error!r}; expected JSON like {{'1': 'cow', '2': 'grass'}}") from None
        self.void = frozenset(index for index, name in names.items() if name == "void")
        self.class_names = {index: name for index, name in names.items() if index not in self.void}
        self._images = {path.stem: path for path in _images_in(root / "images")}

    def photo(self, photo_id: str) -> Photo:
        """A photograph by its id, without looking into its label map (so without its classes)."""
        if photo_id not in self._images:
            raise SpecError(f"photograph {photo_id!r} is not in {self.root / 'images'}")
        return Photo(photo_id, self._images[photo_id], frozenset())

    @cached_property
    def photos(self) -> list[Photo]:
        photos = []
        for photo_id, image in self._images.items():
            if photo_id not in self.unread:
                shown = np.unique(open_index_map(self._label_path(photo_id)))
                classes = frozenset(int(index) for index in shown if int(index) in self.class_names)
                photos.append(Photo(photo_id, image, classes))
        return photos

    def label_map(self, photo: Photo) -> np.ndarray:
        label_HW = open_index_map(self._label_path(photo.id)).copy()
        label_HW[np.isin(label_HW, list(self.void))] = IGNORED
        return label_HW

    def _label_path(self, photo_id: str) -> Path:
        if photo_id in self.unread:
            raise InputError(f"{photo_id}: its label map is kept for scoring and may not be read here")
        return self.root / "labels" / f"{photo_id}.png"


class PairFolder:
    """`<group>/<name>.jpg` with `<group>/<name>.png` beside it: non-zero where the group's common object is."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, root.name
        groups = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        if not groups:
            raise SpecError(f"{root}: no folders of image/mask pairs; expected <group>/<name>.jpg and .png")
        self.class_names = {index: group_title(group) for index, group in enumerate(groups, start=1)}
        self.photos = [
            Photo(f"{group}/{path.stem}", path, frozenset({index}))
            for index, group in enumerate(groups, start=1)
            for path in _images_in(root / group)
            if path.suffix.lower() != ".png"
        ]

    def label_map(self, photo: Photo) -> np.ndarray:
        (class_id,) = photo.classes
        return np.where(decode_mask(photo.image.with_suffix(".png").read_bytes()), class_id, 0).astype(np.uint8)


def group_title(folder: str) -> str:
    """A folder's name as words: `002_alaskan_brown_bear` -> `alaskan brown bear`."""
    words = [word for word in folder.replace("-", "_").split("_") if word and not word.isdigit()]
    return " ".join(words) or folder


def _images_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SpecError(f"{folder}: no such folder; expected photographs there")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS)
