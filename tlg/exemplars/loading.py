"""An exemplar set read once, with its pixels, into a content-addressed artifact."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from tlg import pictures, store
from tlg.documents import parse, read_text
from tlg.errors import InputError, SpecError, StorageError
from tlg.exemplars.document import ExemplarDocument, ExemplarRef, anchored
from tlg.exemplars.drawing import Drawing, check_fits, filled
from tlg.exemplars.folder import describe_folder


@dataclass(frozen=True)
class LoadedExemplar:
    """`mask` is what was given or outlined; `drawing`, in places of `pixels`, is what the picture must explain."""

    uri: str
    pixels: np.ndarray  # (h, w, 3) uint8
    mask: np.ndarray | None = None  # (h, w) bool
    drawing: Drawing | None = None


@dataclass(frozen=True)
class LoadedClass:
    name: str
    class_id: int
    attributes: str | None
    context: tuple[str, ...]
    exemplars: tuple[LoadedExemplar, ...]


@dataclass(frozen=True)
class LoadedExemplars:
    """An exemplar set with its pixels. `digest` depends on names, texts, bytes and drawings, not on where they lie."""

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
        return describe_folder(uri, access)
    written = parse(ExemplarDocument, read_text(store.read_text(uri, access), uri), uri)
    return anchored(written, store.parent(uri))


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
        picture = pictures.guarded_decode(content)
    except (InputError, StorageError) as error:
        raise SpecError(f"{where}: exemplar {ref.image} cannot be used: {error}") from None
    _feed(digest, "image", hashlib.blake2b(content, digest_size=16).hexdigest())
    mask = None if ref.mask is None else _load_mask(ref.mask, ref.image, picture.pixels, where, digest, access)
    drawing = ref.drawing
    try:
        check_fits(drawing, picture.height, picture.width, ref.image)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    if drawn := drawing.content():
        _feed(digest, "drawing", drawn)
    height, width = picture.pixels.shape[:2]
    drawing = drawing.scaled(width / picture.width, height / picture.height)
    if drawing.polygons:
        outlined = filled(drawing.polygons, height, width)
        mask = outlined if mask is None else mask | outlined
    return LoadedExemplar(ref.image, picture.pixels, mask, drawing if drawing.needs_affinity else None)


def _load_mask(
    uri: str, image: str, pixels: np.ndarray, where: str, digest: hashlib.blake2b, access: store.Access
) -> np.ndarray:
    try:
        content = store.read(uri, access)
        mask = pictures.guarded_decode_mask(content)
    except (InputError, StorageError) as error:
        raise SpecError(f"{where}: mask {uri} cannot be used: {error}") from None
    if mask.shape != pixels.shape[:2]:
        found, expected = "x".join(map(str, mask.shape[::-1])), "x".join(map(str, pixels.shape[1::-1]))
        raise SpecError(f"{where}: mask {uri} is {found}, its image {image} is {expected}; sizes must agree")
    _feed(digest, "mask", hashlib.blake2b(content, digest_size=16).hexdigest())
    return mask


def _feed(digest: hashlib.blake2b, *parts: str) -> None:
    """Their number and each part's length in bytes come first, so that no two inputs are the same bytes."""
    digest.update(len(parts).to_bytes(4, "little"))
    for content in (part.encode() for part in parts):
        digest.update(len(content).to_bytes(8, "little") + content)
