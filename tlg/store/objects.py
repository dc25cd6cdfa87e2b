"""Every other scheme through fsspec and the package that knows it: gs, az, hf, sftp, memory and more.

The packages are extras. Their settings are their own: the environment as each defines it, `FSSPEC_<SCHEME>_<NAME>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.core import url_to_fs

from tlg.errors import StorageError
from tlg.store import bodies
from tlg.store.failures import explained, of_status
from tlg.store.places import Access, Entry, scheme
from tlg.store.protocol import LeftOut, Store
from tlg.store.ranges import RangeFile
from tlg.store.retry import patiently

EXTRAS = {
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "hf": "hf",
    "sftp": "sftp",
    "ssh": "sftp",
}
# Whose `mode="create"` is one conditional put; elsewhere fsspec looks first and writes then, which keeps nobody apart.
EXCLUSIVE_CREATE = {"gs", "gcs", "az", "abfs", "abfss", "memory"}
ENDPOINT_OPTIONS = {"gs": "endpoint_url", "gcs": "endpoint_url", "hf": "endpoint"}
# Every other package remembers listings that it is told to forget; a hub would then ask for the repository each time.
ASKS_ANEW = {"hf": {"refresh": True}}
# What identifies a version, by the name each package gives it.
VERSIONS = ("etag", "ETag", "generation", "blob_id", "md5Hash")
CHANGED = ("mtime", "last_modified", "LastModified", "updated", "modified", "created")


class ObjectStore(Store):
    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        filesystem, path = self._at(uri)
        if max_bytes is not None:
            bodies.refuse_larger(uri, self.size(uri), max_bytes)
        with _explained(uri):
            return filesystem.cat_file(path)

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        filesystem, path = self._at(uri)
        length = min(length, self.size(uri) - start)
        if length <= 0:
            return b""
        with _explained(uri):
            return filesystem.cat_file(path, start=start, end=start + length)

    def open_input(self, uri: str) -> BinaryIO:
        filesystem, path = self._at(uri)

        def part(start: int, length: int) -> bytes:
            def attempt() -> bytes:
                with _explained(uri):
                    return filesystem.cat_file(path, start=start, end=start + length)

            return patiently(attempt, self.access.patience_seconds)

        return cast(BinaryIO, RangeFile(self.size(uri), part))

    def stat(self, uri: str) -> Entry:
        filesystem, path = self._at(uri)
        with _explained(uri):
            info = filesystem.info(path)
        return Entry(uri, _version(info), int(info["size"] or 0))

    def size(self, uri: str) -> int:
        filesystem, path = self._at(uri)
        with _explained(uri):
            return int(filesystem.info(path)["size"])

    def exists(self, uri: str) -> bool:
        return self._type(uri) is not None

    def is_folder(self, uri: str) -> bool:
        return self._type(uri) == "directory"

    def entries(self, folder: str, left_out: LeftOut) -> Iterator[tuple[str, Entry]]:
        """Folder by folder, so that no more than one of them is held in memory."""
        filesystem, root = self._at(folder)
        root = root.rstrip("/")
        base = folder.rstrip("/")
        pending = [root]
        while pending:
            below = []
            for info in self._children(folder, filesystem, pending.pop()):
                name = info["name"].rstrip("/")[len(root) :].lstrip("/")
                if info["type"] == "directory":
                    below.append(info["name"].rstrip("/"))
                elif name:
                    yield name, Entry(f"{base}/{name}", _version(info), int(info["size"] or 0))
            pending += reversed(sorted(below))

    def write(self, uri: str, content: bytes) -> None:
        filesystem, path = self._at(uri)
        with _explained(uri):
            _make_parent(filesystem, path)
            filesystem.pipe_file(path, content)

    def upload(self, file: Path, uri: str) -> None:
        filesystem, path = self._at(uri)
        with _explained(uri):
            _make_parent(filesystem, path)
            filesystem.put_file(str(file), path)

    def create(self, uri: str, content: bytes) -> bool:
        if scheme(uri) not in EXCLUSIVE_CREATE:
            return super().create(uri, content)
        filesystem, path = self._at(uri)
        with _explained(uri):
            try:
                filesystem.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if _precondition_failed(error):
                    return False
                raise
            return True

    def delete(self, uri: str) -> None:
        filesystem, path = self._at(uri)
        with _explained(uri):
            filesystem.rm_file(path)

    def delete_folder(self, uri: str) -> None:
        try:
            entries = list(self.entries(uri, lambda place, reason: None))
        except StorageError as error:
            if error.missing:
                return
            raise
        for _, entry in entries:
            self.delete(entry.uri)

    def _at(self, uri: str) -> tuple[Any, str]:
        filesystem, path = filesystem_of(uri, self.access)
        return filesystem, path

    def _type(self, uri: str) -> str | None:
        filesystem, path = self._at(uri)
        with _explained(uri):
            try:
                return filesystem.info(path)["type"]
            except FileNotFoundError:
                return None

    def _children(self, uri: str, filesystem: Any, folder: str) -> list[dict[str, Any]]:
        def scan() -> list[dict[str, Any]]:
            anew = ASKS_ANEW.get(scheme(uri), {})
            with _explained(uri):
                if not anew:
                    filesystem.invalidate_cache()
                infos = filesystem.ls(folder, detail=True, **anew)
                return sorted(infos, key=lambda info: info["name"])

        return patiently(scan, self.access.patience_seconds)


def filesystem_of(uri: str, access: Access) -> tuple[Any, str]:
    """fsspec's file system for an address, and what it calls the place. It keeps its instances itself."""
    name = scheme(uri)
    try:
        options = _options(name, access)
        with explained(uri):  # some connect at once
            return url_to_fs(uri, **options)
    except ImportError as error:
        extra = EXTRAS.get(name)
        way_out = f'pip install "tlg[{extra}]"' if extra else f"pip install what fsspec names: {error}"
        raise StorageError(f"{uri}: the package for {name}:// is not installed; {way_out}") from None
    except ValueError as error:
        known = ", ".join(f"{protocol}://" for protocol in ("s3", "http", "https", *EXTRAS))
        if name not in fsspec.available_protocols():
            raise StorageError(
                f"{uri}: unknown store {name}://; expected a path, {known} or what fsspec knows"
            ) from None
        raise StorageError(f"{uri}: {name}:// cannot be set up: {' '.join(str(error).split())}") from None


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Beside what every library raises: what file systems behind fsspec say with Python's own exceptions."""
    with explained(uri):
        try:
            yield
        except OSError as error:
            if scheme(uri) in ("gs", "gcs") and type(error) is OSError and error.errno is None:
                raise of_status(uri, 403, "refused") from None  # gcsfs gives no other sign of a 403
            raise
        except ValueError as error:
            raise StorageError(f"{uri}: {' '.join(str(error).split())}") from None


def _options(name: str, access: Access) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if name in ("gs", "gcs") and (access.endpoint or os.environ.get("STORAGE_EMULATOR_HOST")):
        # Google's own control plane knows nothing of such a server, and gcsfs would wait for it at every call.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    if access.endpoint and name in ENDPOINT_OPTIONS:
        options[ENDPOINT_OPTIONS[name]] = access.endpoint
    if name in ("az", "abfs", "abfss"):
        # adlfs has names of its own for what Azure's command line calls so.
        for option, variable in (("account_name", "AZURE_STORAGE_ACCOUNT"), ("account_key", "AZURE_STORAGE_KEY")):
            if value := os.environ.get(variable):
                options[option] = value
    return options


def _make_parent(filesystem: Any, path: str) -> None:
    """Object stores have no folders; the others do not make them by themselves."""
    if "sftp" in filesystem.protocol:
        filesystem.makedirs(filesystem._parent(path), exist_ok=True)


def _version(info: dict[str, Any]) -> str:
    for name in VERSIONS:
        if info.get(name):
            return str(info[name]).strip('"')
    stamp = next((info[name] for name in CHANGED if info.get(name)), "")
    return hashlib.blake2b(f"{stamp}-{info.get('size')}".encode(), digest_size=8).hexdigest()


def _precondition_failed(error: Exception) -> bool:
    """What gcsfs raises where a put's condition does not hold: its own error with the status as text or number."""
    return str(getattr(error, "code", "")) == "412"
