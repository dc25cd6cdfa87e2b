"""An exemplar set read once, with its pixels, into a content-addressed artifact."""

from __future__ import annotations

import hashlib

import numpy as np

from tlg import pictures, store
from tlg.documents import parse, read_text
from tlg.errors import InputError, SpecError, StorageError
from tlg.exemplars.document import ExemplarDocument, ExemplarRef, anchored
from tlg.exemplars.drawing import check_fits, filled
from tlg.exemplars.folder import describe_folder
from tlg.exemplars.loaded import LoadedClass, LoadedExemplar, LoadedExemplars, feed
from tlg.exemplars.named import is_names, load_names


def describe(uri: str, access: store.Access = store.DEFAULT_ACCESS) -> ExemplarDocument:
    """The exemplar set behind a YAML or JSON file or a folder `class name/*.jpg`, with absolute references."""
    if store.is_folder(uri, access):
        return describe_folder(uri, access)
    written = parse(ExemplarDocument, read_text(store.read_text(uri, access), uri), uri)
    return anchored(written, store.parent(uri))


def load(uri: str, access: store.Access = store.DEFAULT_ACCESS) -> LoadedExemplars:
    """Read an exemplar set with all its pixels; a bad exemplar is an error that names class and file."""
    if is_names(uri):
        return load_names(uri)
    return load_described(describe(uri, access), access)


def load_described(written: ExemplarDocument, access: store.Access = store.DEFAULT_ACCESS) -> LoadedExemplars:
    digest = hashlib.blake2b(digest_size=16)
    classes = []
    for class_id, described in enumerate(written.classes, start=1):
        feed(digest, "class", described.name, described.attributes or "", *described.context)
        loaded = [_load_exemplar(ref, f"class '{described.name}'", digest, access) for ref in described.exemplars]
        classes.append(
            LoadedClass(described.name, class_id, described.attributes, tuple(described.context), tuple(loaded))
        )
    feed(digest, "negatives")
    negatives = [_load_exemplar(ExemplarRef(image=uri), "negatives", digest, access) for uri in written.negatives]
    return LoadedExemplars(written.name, tuple(classes), tuple(negatives), digest.hexdigest())


def _load_exemplar(ref: ExemplarRef, where: str, digest: hashlib.blake2b, access: store.Access) -> LoadedExemplar:
    try:
        content = store.read(ref.image, access)
        picture = pictures.guarded_decode(content)
    except (InputError, StorageError) as error:
        raise SpecError(f"{where}: exemplar {ref.image} cannot be used: {error}") from None
    feed(digest, "image", hashlib.blake2b(content, digest_size=16).hexdigest())
    mask = None if ref.mask is None else _load_mask(ref.mask, ref.image, picture, where, digest, access)
    drawing = ref.drawing
    try:
        check_fits(drawing, picture.height, picture.width, ref.image)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    if drawn := drawing.content():
        feed(digest, "drawing", drawn)
    height, width = picture.pixels.shape[:2]
    drawing = drawing.scaled(width / picture.width, height / picture.height)
    if drawing.polygons:
        outlined = filled(drawing.polygons, height, width)
        mask = outlined if mask is None else mask | outlined
    return LoadedExemplar(ref.image, picture.pixels, mask, drawing if drawing.needs_affinity else None)


def _load_mask(
    uri: str, image: str, picture: pictures.Picture, where: str, digest: hashlib.blake2b, access: store.Access
) -> np.ndarray:
    """At the size of the picture's pixels, which are scaled down where the image is very large."""
    try:
        content = store.read(uri, access)
        mask = pictures.guarded_decode_mask(content)
    except (InputError, StorageError) as error:
        raise SpecError(f"{where}: mask {uri} cannot be used: {error}") from None
    if mask.shape != (picture.height, picture.width):
        of_mask, of_image = "x".join(map(str, mask.shape[::-1])), f"{picture.width}x{picture.height}"
        raise SpecError(f"{where}: mask {uri} is {of_mask}, its image {image} is {of_image}; sizes must agree")
    feed(digest, "mask", hashlib.blake2b(content, digest_size=16).hexdigest())
    return pictures.Picture(picture.pixels, *picture.pixels.shape[:2]).upscaled_mask(mask)
