"""A folder as an exemplar set: `class name/*.jpg`, and beside a picture `1.jpg` what was drawn on it.

red fox/1.jpg
red fox/1.mask.png    its mask
red fox/1.json        what LabelMe keeps of it
_negatives/2.jpg
"""

from __future__ import annotations

import re
from collections.abc import Collection

from tlg import pictures, store
from tlg.documents import parse
from tlg.errors import SpecError
from tlg.exemplars.document import ExemplarDocument
from tlg.exemplars.labelme import drawing_in

NEGATIVES_FOLDER = "_negatives"
MASK_ENDING, DRAWING_ENDING = ".mask.png", ".json"


def describe_folder(folder: str, access: store.Access) -> ExemplarDocument:
    base = folder.rstrip("/")
    files = {entry.uri for entry in store.entries(base, "*/*", access)}
    by_class: dict[str, list[str]] = {}
    for uri in sorted(files):
        if uri.lower().endswith(pictures.EXTENSIONS) and not _is_mask(uri, files):
            by_class.setdefault(uri.split("/")[-2], []).append(uri)
    negatives = by_class.pop(NEGATIVES_FOLDER, [])
    if not by_class:
        raise SpecError(
            f"{folder}: no exemplars found; expected one folder per class with images in it, like `red fox/1.jpg`"
        )
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", base.split("/")[-1]).strip("-._") or "exemplars"
    classes = [
        {"name": class_name, "exemplars": [_ref(uri, class_name, files, access) for uri in uris]}
        for class_name, uris in sorted(by_class.items())
    ]
    return parse(ExemplarDocument, {"name": name, "classes": classes, "negatives": negatives}, folder)


def _is_mask(uri: str, files: Collection[str]) -> bool:
    stem = uri.removesuffix(MASK_ENDING)
    return stem != uri and any(f"{stem}{ending}" in files for ending in pictures.EXTENSIONS)


def _ref(image: str, class_name: str, files: Collection[str], access: store.Access) -> dict[str, object]:
    stem = image.rpartition(".")[0]
    ref: dict[str, object] = {"image": image}
    if f"{stem}{MASK_ENDING}" in files:
        ref["mask"] = f"{stem}{MASK_ENDING}"
    if (file := f"{stem}{DRAWING_ENDING}") in files:
        drawing = drawing_in(store.read_text(file, access), class_name, file)
        ref |= {} if drawing is None else drawing.model_dump(exclude_defaults=True)
    return ref
