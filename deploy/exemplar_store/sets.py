"""Exemplar sets by name, in a folder or bucket that replicas and batch jobs share.

    <store>/sets/<digest>/set.json + images/...     the content; an exemplar set that `tlg.exemplars` reads
    <store>/names/<name>.json                       which content a name means
    <store>/used/<digest>.json                      when the content was last put, replaced or asked for by its digest
    <store>/sweeping/<digest>.json                  somebody is removing this content just now
    <store>/naming/<name>.json                      somebody is changing, under a condition, what this name means

A digest names the same content as long as anything may use it: while a name means it, and `keep_days` after the last
use. A name moves in one step, so readers see the old set or the new one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store.discretion import of_no_place
from deploy.exemplar_store.marks import Marks, delete
from deploy.exemplar_store.packed import DOCUMENT, PackedSet, described, paths
from tlg import exemplars, store
from tlg.answers.wire import StoredSet
from tlg.errors import StorageError
from tlg.exemplars import LoadedExemplars

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{32}")
KEEP_DAYS = 30.0
DAY_SECONDS = 86_400.0
# Content that no name means is looked for this often by each process that changes sets.
SWEEP_SECONDS = 3600.0
# Set where a condition says that a name must be new.
NO_CONTENT = ""


class ExemplarStore:
    """Blocking: call it in a thread. `tells_place`: whether answers may say where on this machine a set lies."""

    def __init__(
        self,
        uri: str,
        access: store.Access = store.DEFAULT_ACCESS,
        keep_days: float = KEEP_DAYS,
        tells_place: bool = True,
    ):
        self.uri, self.access = uri.rstrip("/"), access
        self.place = store.path_in_store(self.uri) if store.scheme(self.uri) == "file" else self.uri
        self._marks = Marks(self.uri, access)
        self._keep_seconds = keep_days * DAY_SECONDS
        self._tells_place = tells_place or store.scheme(self.uri) != "file"
        self._swept_at = 0.0

    @of_no_place
    def put(self, name: str, packed: PackedSet, expected: str | None = None) -> tuple[StoredSet, bool]:
        """Keep the set under `name`; True if the name is new. Raises SpecError if an exemplar cannot be used.

        `expected` is the digest that the name must mean just now, NO_CONTENT where it must be new.
        """
        if DIGEST.fullmatch(name):
            raise ProblemError(422, "bad-name", f"{name} could be a set's digest; a name must not look like one")
        self._checked(name)
        packed = PackedSet(packed.document | {"name": name}, packed.files).by_content()
        digest = packed.load().digest
        before = self._named(name)
        # First the use, then the content, then the name: a sweep that comes in between sees that somebody needs it.
        self._marks.mark_used(digest)
        self._complete(digest, packed)
        record = self._described(name, digest, packed.document)
        with self._unchanged(name, expected):
            store.write(self._name_uri(name), record.model_dump_json().encode(), self.access)
        # A sweep that looked before may have removed what was there: once it is over, what is missing is written.
        self._marks.await_removal(digest)
        self._complete(digest, packed)
        if before and before.digest != digest:
            self._let_go(before.digest)
        self._sweep_now_and_then()
        return self._told(record), before is None

    @of_no_place
    def keep(self, packed: PackedSet) -> StoredSet:
        """Keep the set under its digest alone, `keep_days` after its last use."""
        packed = packed.by_content()
        digest = packed.load().digest
        self._marks.mark_used(digest)
        self._complete(digest, packed)
        self._marks.await_removal(digest)
        self._complete(digest, packed)
        self._sweep_now_and_then()
        return self._told(self._described(packed.document["name"], digest, packed.document))

    @of_no_place
    def document(self, reference: str) -> tuple[StoredSet, dict]:
        """A set and its document, whose paths `file` reads."""
        stored = self.get(reference)
        return stored, json.loads(store.read(self.document_uri(stored.digest), self.access))

    @of_no_place
    def file(self, digest: str, path: str) -> bytes:
        """One image or mask of a set; a 404 problem if the set has none of that name."""
        try:
            return store.read(f"{self._folder(digest)}/{path}", self.access)
        except StorageError as error:
            if error.missing:
                raise ProblemError(404, "no-such-image", f"the set {digest} holds no {path}; upload it again") from None
            raise

    @of_no_place
    def get(self, reference: str) -> StoredSet:
        """The set behind a name or a digest; a 404 problem if there is none."""
        self._checked(reference)
        record = self._of_digest(reference) if DIGEST.fullmatch(reference) else self._named(reference)
        if record is None:
            raise ProblemError(
                404,
                "no-such-exemplar-set",
                f"no exemplar set '{reference}'; PUT /v1/exemplar-sets/{reference} makes one",
            )
        return self._told(record)

    @of_no_place
    def list(self) -> list[StoredSet]:
        entries = store.listed(f"{self.uri}/names", "*.json", self.access)
        records = (self._record(entry.uri) for entry in entries)
        return [self._told(record) for record in records if record is not None]

    @of_no_place
    def delete(self, name: str, expected: str | None = None) -> None:
        """Forget the name; the content goes when nobody has used it for `keep_days`. For `expected` see `put`."""
        self._checked(name)
        if DIGEST.fullmatch(name):
            raise ProblemError(409, "named", f"{name} is a digest; delete the names that mean it instead")
        record = self.get(name)
        with self._unchanged(name, expected):
            delete(self._name_uri(name), self.access)
        self._let_go(record.digest)
        self._sweep_now_and_then()

    @of_no_place
    def load(self, digest: str) -> LoadedExemplars:
        return exemplars.load(self.document_uri(digest), self.access)

    @of_no_place
    def packed(self, reference: str) -> PackedSet:
        """The whole set, to add to it and put it again."""
        digest = self.get(reference).digest
        document = json.loads(store.read(self.document_uri(digest), self.access))
        files = {path: store.read(f"{self._folder(digest)}/{path}", self.access) for path in paths(document)}
        return PackedSet(document, files)

    def document_uri(self, digest: str) -> str:
        """What a job's `exemplars` may name."""
        return f"{self._folder(digest)}/{DOCUMENT}"

    @of_no_place
    def mark_used(self, digest: str) -> None:
        """Somebody relies on this digest, whatever becomes of its names."""
        self._marks.mark_used(digest)

    @of_no_place
    def is_reachable(self) -> bool:
        """One cheap question to the store; an error says why not."""
        store.exists(f"{self.uri}/names", self.access)
        return True

    @of_no_place
    def sweep(self) -> None:
        """Remove content that no name means and that was not used for `keep_days`."""
        base = f"{self.uri}/sets"
        digests = {_digest_in(uri) for uri in self._files(base)}
        named = {record.digest for record in self.list()}
        for digest in sorted(digest for digest in digests if digest and digest not in named):
            if self._marks.last_used(digest) is None:
                self._marks.mark_used(digest)  # from an earlier version: its time begins now
            else:
                self._remove_unused(digest)

    @contextmanager
    def _unchanged(self, name: str, expected: str | None) -> Iterator[None]:
        """What happens within is done only while the name means `expected`; a 412 problem where it does not."""
        if expected is None:
            yield
            return
        with self._marks.changing(name):
            current = self._named(name)
            if (current.digest if current else NO_CONTENT) != expected:
                meaning = f"'{name}' means {current.digest} now" if current else f"there is no set '{name}' any more"
                wanted = f"expected {expected}" if expected else "expected a new name"
                raise ProblemError(
                    412, "changed", f"{meaning}, {wanted}; read it again, or send no condition to overwrite it"
                )
            yield

    def _complete(self, digest: str, packed: PackedSet) -> None:
        """Write what is missing, the document last: a set with a document is complete."""
        folder = self._folder(digest)
        present = {uri.rpartition(f"/{digest}/")[2] for uri in self._files(folder)}
        if DOCUMENT in present:
            try:
                if present.issuperset(paths(json.loads(store.read(self.document_uri(digest), self.access)))):
                    return
            except (StorageError, ValueError, KeyError, TypeError):
                pass  # cut short, or removed just now: written anew
        for path, content in packed.files.items():
            if path not in present:
                store.write(f"{folder}/{path}", content, self.access)
        document = json.dumps(packed.document, ensure_ascii=False).encode()
        store.write(self.document_uri(digest), document, self.access)

    def _files(self, folder: str) -> Sequence[str]:
        """Every whole file below; a hidden one is still being written beside the place it will take."""
        uris = (entry.uri for entry in store.listed(folder, "**/*", self.access))
        return [uri for uri in uris if not uri.rpartition("/")[2].startswith(".")]

    def _let_go(self, digest: str) -> None:
        """A name no longer means this content: its time begins."""
        self._marks.mark_used(digest)
        self._remove_unused(digest)

    def _remove_unused(self, digest: str) -> None:
        if not self._is_unused(digest) or not self._marks.claim_removal(digest):
            return
        try:
            # Asked again behind the claim: from here on `put` waits for us, before it we would have seen its mark.
            if not self._is_unused(digest) or any(record.digest == digest for record in self.list()):
                return
            # The document first: a set that has one is complete.
            delete(self.document_uri(digest), self.access)
            for uri in self._files(self._folder(digest)):
                delete(uri, self.access)
            self._marks.forget_use(digest)
        finally:
            self._marks.end_removal(digest)

    def _is_unused(self, digest: str) -> bool:
        used_at = self._marks.last_used(digest)
        return used_at is not None and time.time() - used_at >= self._keep_seconds

    def _sweep_now_and_then(self) -> None:
        if time.monotonic() - self._swept_at > SWEEP_SECONDS or not self._swept_at:
            self._swept_at = time.monotonic()
            self.sweep()

    def _named(self, name: str) -> StoredSet | None:
        return self._record(self._name_uri(name))

    def _record(self, uri: str) -> StoredSet | None:
        try:
            return StoredSet.model_validate_json(store.read(uri, self.access))
        except StorageError as error:
            if error.missing:  # never there, or deleted between two calls
                return None
            raise

    def _of_digest(self, digest: str) -> StoredSet | None:
        try:
            document = json.loads(store.read(self.document_uri(digest), self.access))
        except StorageError as error:
            if error.missing:
                return None
            raise
        used_at = self._marks.last_used(digest)
        if used_at is None or time.time() - used_at > DAY_SECONDS:
            self._marks.mark_used(digest)
        return self._described(document["name"], digest, document)

    def _described(self, name: str, digest: str, document: dict) -> StoredSet:
        return described(name, digest, document, self.document_uri(digest))

    def _told(self, record: StoredSet) -> StoredSet:
        return record if self._tells_place else record.model_copy(update={"uri": None})

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


def _digest_in(uri: str) -> str | None:
    match = re.search(r"/sets/([0-9a-f]{32})/", uri)
    return match.group(1) if match else None
