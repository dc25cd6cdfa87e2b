"""FSS-1000: a folder per class with ten images and binary masks; 520 training, 240 validation, 240 test classes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from tlg.datasets.episodes import Photo
from tlg.errors import SpecError


class FSS1000:
    """`<class>/<n>.jpg` with `<class>/<n>.png`. `split` names a list of class folders `splits/<split>.txt`."""

    name = "fss"

    def __init__(self, root: Path, split: str) -> None:
        self.root = root
        file = root / "splits" / f"{split}.txt"
        if not file.is_file():
            raise SpecError(f"{file}: no such file; expected the names of the {split} classes, one in a line")
        folders = file.read_text().split()
        missing = [folder for folder in folders if not (root / folder).is_dir()]
        if missing:
            raise SpecError(f"{file} names {missing[0]!r}, which is no folder of {root} ({len(missing)} are missing)")
        self._folders = dict(enumerate(folders, start=1))
        self.class_names = {index: folder.replace("_", " ") for index, folder in self._folders.items()}

    @cached_property
    def photos(self) -> list[Photo]:
        return [
            Photo(f"{folder}/{path.stem}", path, frozenset({index}))
            for index, folder in self._folders.items()
            for path in sorted((self.root / folder).glob("*.jpg"), key=lambda path: (len(path.stem), path.stem))
        ]

    def label_map(self, photo: Photo) -> np.ndarray:
        """1000 classes do not fit a byte: the map is of 16 bits."""
        with Image.open(photo.image.with_suffix(".png")) as file:
            mask_HW = np.asarray(file.convert("L"))
        (class_id,) = photo.classes
        return np.where(mask_HW > 127, class_id, 0).astype(np.uint16)
