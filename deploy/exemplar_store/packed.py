"""An exemplar set that travels: its document and the bytes behind it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tlg import exemplars
from tlg.answers.wire import StoredClass, StoredSet
from tlg.documents import parse
from tlg.errors import SpecError
from tlg.exemplars import Drawing, LoadedExemplars

DOCUMENT = "set.json"


@dataclass(frozen=True)
class PackedSet:
    """An exemplar set that travels: its document, with relative paths, and the files behind them."""

    document: dict
    files: dict[str, bytes]

    def by_content(self) -> PackedSet:
        """The same set with files named by their bytes: equal sets have equal files, whoever packed them."""
        places = {
            path: f"images/{hashlib.blake2b(content, digest_size=16).hexdigest()}"
            for path, content in self.files.items()
        }
        classes = [
            of_class | {"exemplars": [_moved(ref, places) for ref in of_class["exemplars"]]}
            for of_class in self.document["classes"]
        ]
        negatives = [places[path] for path in self.document.get("negatives", [])]
        document = self.document | {"classes": classes, "negatives": negatives}
        return PackedSet(document, {places[path]: content for path, content in self.files.items()})

    def load(self) -> LoadedExemplars:
        with self._unpacked() as folder:
            try:
                return exemplars.load(f"{folder}/{DOCUMENT}")
            except SpecError as error:
                raise SpecError(str(error).replace(f"{folder}/", "")) from None

    @contextmanager
    def _unpacked(self) -> Iterator[str]:
        # `exemplars` reads places, and knows how a digest is made: so the set gets a place for a moment.
        folder = tempfile.mkdtemp(prefix="tlg-set-")
        try:
            for name, content in self.files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            # Unescaped: YAML, which reads it, does not know JSON's two escapes for one character.
            Path(folder, DOCUMENT).write_text(json.dumps(self.document, ensure_ascii=False), "utf-8")
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def described(name: str, digest: str, document: dict, uri: str) -> StoredSet:
    """What the API says of a set: its classes by number, and what their exemplars carry."""
    classes = [
        StoredClass(
            name=of_class["name"],
            class_id=number,
            attributes=of_class.get("attributes"),
            context=of_class.get("context") or [],
            exemplars=len(of_class["exemplars"]),
            masks=sum(bool(ref.get("mask")) for ref in of_class["exemplars"]),
            drawings=sum(any(ref.get(kind) for kind in Drawing.model_fields) for ref in of_class["exemplars"]),
        )
        for number, of_class in enumerate(document["classes"], start=1)
    ]
    negatives = len(document.get("negatives", []))
    return StoredSet(name=name, digest=digest, classes=classes, negatives=negatives, uri=uri)


def paths(document: dict) -> list[str]:
    """Every file that a set's document names."""
    written = parse(exemplars.ExemplarDocument, document, DOCUMENT)
    refs = [ref for of_class in written.classes for ref in of_class.exemplars]
    return [*(ref.image for ref in refs), *(ref.mask for ref in refs if ref.mask), *written.negatives]


def _moved(ref: dict, places: dict[str, str]) -> dict:
    return ref | {part: places[ref[part]] for part in ("image", "mask") if ref.get(part)}
