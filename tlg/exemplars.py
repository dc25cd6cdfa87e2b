"""An exemplar set: few labelled images, read once into a content-addressed artifact."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from pydantic import Field, field_validator, model_validator

from tlg import pictures, store
from tlg.documents import Document, parse, read_text
from tlg.errors import InputError, SpecError, StorageError

NEGATIVES_FOLDER = "_negatives"


class ExemplarRef(Document):
    """Where an exemplar is; a mask is optional."""

    image: str = Field(description="Path or URI; relative paths count from the document's folder")
    mask: str | None = Field(None, description="Mask of the same size, marked pixels non-zero")


class ExemplarClass(Document):
    name: str = Field(min_length=1, max_length=200, description="What the class is called in every answer")
    attributes: str | None = Field(None, description="The name with its attributes: `red fox with a bushy tail`")
    context: list[str] = Field(default=[], description="Typical surroundings: [forest, snow]")
    exemplars: list[ExemplarRef] = Field(
        min_length=1, description="Images that show the class: a path or URI each, or `image` and `mask`"
    )

    @field_validator("exemplars", mode="before")
    @classmethod
    def short_form(cls, value: object) -> object:
        if isinstance(value, list):
            return [{"image": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("name")
    @classmethod
    def stripped(cls, value: str) -> str:
        # A name of blanks, or of characters of no width, would be a nameless class to everyone who reads it.
        if not any(unicodedata.category(character)[0] in "LNPS" for character in value):
            raise ValueError("a class needs a name that can be seen")
        return value.strip()


class ExemplarDocument(Document):
    """What the user wrote. Class ids are positions in `classes`, starting at 1."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="What the set is called")
    classes: list[ExemplarClass] = Field(min_length=1, description="The classes, numbered from 1 in this order")
    negatives: list[str] = Field(default=[], description="Images that show none of the classes")

    @model_validator(mode="after")
    def distinct_names(self) -> ExemplarDocument:
        seen: set[str] = set()
        for one in self.classes:
            if one.name.casefold() in seen:
                raise ValueError(f"two classes are named '{one.name}'; names must differ")
            seen.add(one.name.casefold())
        return self


@dataclass(frozen=True)
class LoadedExemplar:
    uri: str
    pixels: np.ndarray  # (h, w, 3) uint8
    mask: np.ndarray | None = None  # (h, w) bool


@dataclass(frozen=True)
class LoadedClass:
    name: str
    class_id: int
    attributes: str | None
    context: tuple[str, ...]
    exemplars: tuple[LoadedExemplar, ...]


@dataclass(frozen=True)
class LoadedExemplars:
    """An exemplar set with its pixels. `digest` depends on names, texts and bytes, not on where they lie."""

    name: str
    classes: tuple[LoadedClass, ...]
    negatives: tuple[LoadedExemplar, ...]
    digest: str

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.classes)


def describe(uri: str, access: store.Access = store.DEFAULT_ACCESS) -> ExemplarDocument:
    """The exemplar set behind a YAML or JSON file or a folder `class name/*.jpg`, with absolute references."""
    if store.is_folder(uri, access):
        return _describe_folder(uri, access)
    written = parse(ExemplarDocument, read_text(store.read_text(uri, access), uri), uri)
    return anchored(written, store.parent(uri))


def anchored(written: ExemplarDocument, folder: str) -> ExemplarDocument:
    classes = [
        one.model_copy(
            update={
                "exemplars": [
                    ExemplarRef(
                        image=store.join(folder, ref.image),
                        mask=None if ref.mask is None else store.join(folder, ref.mask),
                    )
                    for ref in one.exemplars
                ]
            }
        )
        for one in written.classes
    ]
    negatives = [store.join(folder, uri) for uri in written.negatives]
    return written.model_copy(update={"classes": classes, "negatives": negatives})


def load(uri: str, access: store.Access = store.DEFAULT_ACCESS) -> LoadedExemplars:
    """Read an exemplar set with all its pixels; a bad exemplar is an error that names class and file."""
    return load_described(describe(uri, access), access)


def load_described(written: ExemplarDocument, access: store.Access = store.DEFAULT_ACCESS) -> LoadedExemplars:
    digest = hashlib.blake2b(digest_size=16)
    classes = []
    for class_id, one in enumerate(written.classes, start=1):
        _feed(digest, "class", one.name, one.attributes or "", *one.context)
        loaded = [_load_one(ref, f"class '{one.name}'", digest, access) for ref in one.exemplars]
        classes.append(LoadedClass(one.name, class_id, one.attributes, tuple(one.context), tuple(loaded)))
    _feed(digest, "negatives")
    negatives = [_load_one(ExemplarRef(image=uri), "negatives", digest, access) for uri in written.negatives]
    return LoadedExemplars(written.name, tuple(classes), tuple(negatives), digest.hexdigest())


def _load_one(ref: ExemplarRef, where: str, digest: hashlib.blake2b, access: store.Access) -> LoadedExemplar:
    try:
        content = store.read(ref.image, access)
        pixels = pictures.guarded_decode(content).pixels
    except (InputError, StorageError) as error:
        raise SpecError(f"{where}: exemplar {ref.image} cannot be used: {error}") from None
    _feed(digest, "image", hashlib.blake2b(content, digest_size=16).hexdigest())
    if ref.mask is None:
        return LoadedExemplar(ref.image, pixels)
    try:
        mask_content = store.read(ref.mask, access)
        mask = pictures.guarded_decode_mask(mask_content)
    except (InputError, StorageError) as error:
        raise SpecError(f"{where}: mask {ref.mask} cannot be used: {error}") from None
    if mask.shape != pixels.shape[:2]:
        found, expected = "x".join(map(str, mask.shape[::-1])), "x".join(map(str, pixels.shape[1::-1]))
        raise SpecError(f"{where}: mask {ref.mask} is {found}, its image {ref.image} is {expected}; sizes must agree")
    _feed(digest, "mask", hashlib.blake2b(mask_content, digest_size=16).hexdigest())
    return LoadedExemplar(ref.image, pixels, mask)


def _describe_folder(folder: str, access: store.Access) -> ExemplarDocument:
    base = folder.rstrip("/")
    by_class: dict[str, list[str]] = {}
    for entry in store.entries(base, "*/*", access):
        if entry.uri.lower().endswith(pictures.EXTENSIONS):
            by_class.setdefault(entry.uri.split("/")[-2], []).append(entry.uri)
    negatives = by_class.pop(NEGATIVES_FOLDER, [])
    if not by_class:
        raise SpecError(
            f"{folder}: no exemplars found; expected one folder per class with images in it, like `red fox/1.jpg`"
        )
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", base.split("/")[-1]).strip("-._") or "exemplars"
    classes = [{"name": one, "exemplars": sorted(uris)} for one, uris in sorted(by_class.items())]
    return parse(ExemplarDocument, {"name": name, "classes": classes, "negatives": sorted(negatives)}, folder)


def _feed(digest: hashlib.blake2b, *parts: str) -> None:
    """Their number and each part's length in bytes come first, so that no two inputs are the same bytes."""
    digest.update(len(parts).to_bytes(4, "little"))
    for content in (part.encode() for part in parts):
        digest.update(len(content).to_bytes(8, "little") + content)
