"""An exemplar set in memory, as a notebook makes and looks at it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlg import exemplars, store
from tlg.api.notebook import img_tag, thumbnail
from tlg.errors import SpecError
from tlg.exemplars import LoadedExemplar, LoadedExemplars

THUMBNAILS_PER_CLASS = 5
THUMBNAIL_SIDE = 96


@dataclass(frozen=True)
class ExemplarSet:
    """A few labelled images of each class, read with their pixels. `source` is where the set was read from."""

    source: str
    loaded: LoadedExemplars

    @classmethod
    def from_folder(cls, folder: str | Path) -> ExemplarSet:
        """One folder per class (`red fox/1.jpg`, ...) and optionally `_negatives/`; a path or a URI."""
        source = store.join(".", str(folder))
        if not store.is_folder(source):
            raise SpecError(f"{folder} is not a folder; expected one folder per class in it, like `red fox/1.jpg`")
        return cls(source, exemplars.load(source))

    @classmethod
    def from_file(cls, file: str | Path) -> ExemplarSet:
        """A YAML or JSON document of classes and their images; a path or a URI."""
        source = store.join(".", str(file))
        if store.is_folder(source):
            raise SpecError(f"{file} is a folder; read it with ExemplarSet.from_folder")
        return cls(source, exemplars.load(source))

    @classmethod
    def from_names(cls, *names: str) -> ExemplarSet:
        """Classes without exemplars, for a model that knows the names: `from_names("red fox", "badger")`."""
        source = exemplars.address_of_names(", ".join(names))
        return cls(source, exemplars.load(source))

    @classmethod
    def read(cls, place: str | Path | ExemplarSet) -> ExemplarSet:
        """Whatever a caller has: a folder, a file, names, or the set itself."""
        if isinstance(place, ExemplarSet):
            return place
        if exemplars.is_names(str(place)):
            return cls(str(place), exemplars.load(str(place)))
        return cls.from_folder(place) if store.is_folder(store.join(".", str(place))) else cls.from_file(place)

    @property
    def name(self) -> str:
        return self.loaded.name

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.loaded.class_names

    @property
    def digest(self) -> str:
        """Depends on names, texts and image bytes, not on where they lie."""
        return self.loaded.digest

    def __repr__(self) -> str:
        classes = ", ".join(f"{of_class.name} ({len(of_class.exemplars)})" for of_class in self.loaded.classes)
        return f"ExemplarSet {self.name}: {classes}; {len(self.loaded.negatives)} negatives"

    def _repr_html_(self) -> str:
        rows = [(of_class.name, of_class.exemplars) for of_class in self.loaded.classes]
        if self.loaded.negatives:
            rows.append(("(negatives)", self.loaded.negatives))
        return f"<table>{''.join(_row(name, images) for name, images in rows)}</table>"


def _row(name: str, images: Sequence[LoadedExemplar]) -> str:
    pictures = "".join(img_tag(thumbnail(image.pixels, THUMBNAIL_SIDE)) for image in images[:THUMBNAILS_PER_CLASS])
    return f"<tr><th>{html.escape(name)}</th><td>{pictures}</td><td>{len(images)}</td></tr>"
