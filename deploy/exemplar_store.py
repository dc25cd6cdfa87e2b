"""Exemplar sets by name, in a folder or bucket that replicas and batch jobs share.

    <store>/sets/<digest>/set.json + images/...     the content; an exemplar set that `tlg.exemplars` reads
    <store>/names/<name>.json                       which content a name means

A digest names the same content for ever; a name moves in one step, so readers see the old set or the new one.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.endpoint.problems import ProblemError
from tlg import exemplars, store
from tlg.answers.wire import StoredClass, StoredSet
from tlg.documents import parse
from tlg.errors import SpecError, StorageError
from tlg.exemplars import LoadedExemplars

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{32}")
DOCUMENT = "set.json"


@dataclass(frozen=True)
class PackedSet:
    """An exemplar set that travels: its document, with relative paths, and the files behind them."""

    document: dict
    files: dict[str, bytes]

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
            Path(folder, DOCUMENT).write_text(json.dumps(self.document))
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class ExemplarStore:
    """Blocking: call it in a thread."""

    def __init__(self, uri: str, access: store.Access = store.DEFAULT_ACCESS):
        self.uri, self.access = uri.rstrip("/"), access

    def put(self, name: str, packed: PackedSet) -> tuple[StoredSet, bool]:
        """Keep the set under `name`; True if the name is new. Raises SpecError if an exemplar cannot be used."""
        self._checked(name)
        packed = PackedSet(packed.document | {"name": name}, packed.files)
        digest = packed.load().digest
        if not store.exists(f"{self._folder(digest)}/{DOCUMENT}", self.access):
            for path, content in packed.files.items():
                store.write(f"{self._folder(digest)}/{path}", content, self.access)
            # The document comes last: a set with a document is complete.
            document = json.dumps(packed.document, ensure_ascii=False).encode()
            store.write(f"{self._folder(digest)}/{DOCUMENT}", document, self.access)
        before = self._digest_of(name)
        record = self._described(name, digest, packed.document)
        store.write(self._name_uri(name), record.model_dump_json().encode(), self.access)
        if before and before != digest:
            self._drop_unused(before)
        return record, before is None

    def get(self, reference: str) -> StoredSet:
        """The set behind a name or a digest; a 404 problem if there is none."""
        self._checked(reference)
        if self._exists(self._name_uri(reference)):
            return StoredSet.model_validate_json(store.read(self._name_uri(reference), self.access))
        if DIGEST.fullmatch(reference) and self._exists(f"{self._folder(reference)}/{DOCUMENT}"):
            document = json.loads(store.read(f"{self._folder(reference)}/{DOCUMENT}", self.access))
            return self._described(document["name"], reference, document)
        raise ProblemError(
            404, "no-such-exemplar-set", f"no exemplar set '{reference}'; PUT /v1/exemplar-sets/{reference} makes one"
        )

    def list(self) -> list[StoredSet]:
        try:
            found = sorted(entry.uri for entry in store.entries(f"{self.uri}/names", "*.json", self.access))
        except StorageError as error:
            if error.transient:
                raise
            return []  # nothing was ever stored
        records = []
        for uri in found:
            try:
                records.append(StoredSet.model_validate_json(store.read(uri, self.access)))
            except StorageError:
                continue  # deleted between the two calls
        return records

    def delete(self, name: str) -> None:
        """Forget the name, and the content where no other name means it."""
        record = self.get(name)
        if not self._exists(self._name_uri(name)):
            raise ProblemError(409, "named", f"{name} is a digest; delete the name '{record.name}' instead")
        store.delete(self._name_uri(name), self.access)
        self._drop_unused(record.digest)

    def load(self, digest: str) -> LoadedExemplars:
        return exemplars.load(f"{self._folder(digest)}/{DOCUMENT}", self.access)

    def packed(self, reference: str) -> PackedSet:
        """The whole set, to add to it and put it again."""
        folder = self._folder(self.get(reference).digest)
        document = json.loads(store.read(f"{folder}/{DOCUMENT}", self.access))
        written = parse(exemplars.ExemplarDocument, document, reference)
        refs = [ref for one in written.classes for ref in one.exemplars]
        paths = [ref.image for ref in refs] + [ref.mask for ref in refs if ref.mask] + list(written.negatives)
        return PackedSet(document, {path: store.read(f"{folder}/{path}", self.access) for path in paths})

    def _described(self, name: str, digest: str, document: dict) -> StoredSet:
        classes = [
            StoredClass(
                name=one["name"],
                class_id=number,
                attributes=one.get("attributes"),
                context=one.get("context", []),
                exemplars=len(one["exemplars"]),
                masks=sum(bool(ref.get("mask")) for ref in one["exemplars"]),
            )
            for number, one in enumerate(document["classes"], start=1)
        ]
        negatives = len(document.get("negatives", []))
        uri = f"{self._folder(digest)}/{DOCUMENT}"
        return StoredSet(name=name, digest=digest, classes=classes, negatives=negatives, uri=uri)

    def _drop_unused(self, digest: str) -> None:
        if any(record.digest == digest for record in self.list()):
            return
        for entry in list(store.entries(self._folder(digest), "**/*", self.access)):
            store.delete(entry.uri, self.access)

    def _digest_of(self, name: str) -> str | None:
        return self.get(name).digest if self._exists(self._name_uri(name)) else None

    def _exists(self, uri: str) -> bool:
        return store.exists(uri, self.access)

    def _checked(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise ProblemError(
                422,
                "bad-name",
                "an exemplar set's name has 1 to 100 of A-Z a-z 0-9 . _ - and starts with a letter or digit",
            )

    def _name_uri(self, name: str) -> str:
        return f"{self.uri}/names/{name}.json"

    def _folder(self, digest: str) -> str:
        return f"{self.uri}/sets/{digest}"
