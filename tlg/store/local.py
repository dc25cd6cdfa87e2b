"""Local folders and mounted file systems."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tlg.store import bodies
from tlg.store.failures import explained, not_a_file
from tlg.store.places import Entry, local_uri, path_in_store
from tlg.store.protocol import LeftOut, Store
from tlg.store.retry import patiently

# What mounts without hard links answer (gcsfuse, SMB, exFAT).
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class LocalStore(Store):
    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        with self.open_input(uri) as file, explained(uri):
            bodies.refuse_larger(uri, os.fstat(file.fileno()).st_size, max_bytes)
            return file.read()

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        with self.open_input(uri) as file, explained(uri):
            file.seek(start)
            return file.read(length)

    def open_input(self, uri: str) -> BinaryIO:
        with explained(uri):
            # Without O_NONBLOCK a named pipe would be waited for until somebody writes to it.
            path = path_in_store(uri)
            if "\0" in path:
                raise not_a_file(uri, "a null byte in the name")
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                os.close(descriptor)
                if stat.S_ISDIR(mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                raise not_a_file(uri, "a named pipe, a device or the like")
            return os.fdopen(descriptor, "rb")

    def stat(self, uri: str) -> Entry:
        with explained(uri):
            state = os.stat(path_in_store(uri))
        return Entry(uri, version(state), state.st_size)

    def size(self, uri: str) -> int:
        with explained(uri):
            return os.stat(path_in_store(uri)).st_size

    def exists(self, uri: str) -> bool:
        return self._mode(uri) is not None

    def is_folder(self, uri: str) -> bool:
        mode = self._mode(uri)
        return mode is not None and stat.S_ISDIR(mode)

    def entries(self, folder: str, left_out: LeftOut) -> Iterator[tuple[str, Entry]]:
        root = path_in_store(folder)
        above = len(root.rstrip(os.sep)) + 1
        pending = [root]
        while pending:
            here = pending.pop()
            below = []
            for child in self._children(here, here == root, left_out):
                if child.is_dir(follow_symlinks=False):
                    below.append(child.path)
                elif _is_linked_folder(child):
                    left_out(local_uri(child.path), "linked folders, which are not followed")
                else:
                    # A link to nowhere is an entry too: reading it will say what is wrong.
                    entry = local_state(child.path) or Entry(local_uri(child.path), "", 0)
                    yield child.path[above:].replace(os.sep, "/"), entry
            pending += reversed(below)

    def write(self, uri: str, content: bytes) -> None:
        with explained(uri), _aside(uri) as (aside, path):
            _fill(aside, content)
            aside.replace(path)

    def upload(self, file: Path, uri: str) -> None:
        with explained(uri), _aside(uri) as (aside, path):
            shutil.copyfile(file, aside)
            aside.replace(path)

    def create(self, uri: str, content: bytes) -> bool:
        with explained(uri), _aside(uri) as (aside, path):
            _fill(aside, content)
            try:
                os.link(aside, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return _create_without_links(path, content)
            return True

    def delete(self, uri: str) -> None:
        with explained(uri):
            os.unlink(path_in_store(uri))

    def delete_folder(self, uri: str) -> None:
        shutil.rmtree(path_in_store(uri), ignore_errors=True)

    def _children(self, folder: str, is_root: bool, left_out: LeftOut) -> list[os.DirEntry]:
        """What lies in a folder, by name; a folder below the root may be closed to us or gone meanwhile."""

        def scan() -> list[os.DirEntry]:
            with explained(local_uri(folder)):
                try:
                    with os.scandir(folder) as children:
                        return sorted(children, key=lambda child: child.name)
                except PermissionError:
                    if is_root:
                        raise
                    left_out(local_uri(folder), "folders that may not be read")
                except FileNotFoundError:
                    if is_root:
                        raise
                return []

        return patiently(scan, self.access.patience_seconds)

    def _mode(self, uri: str) -> int | None:
        with explained(uri):
            try:
                return os.stat(path_in_store(uri)).st_mode
            except (FileNotFoundError, NotADirectoryError):
                return None


def local_state(path: str) -> Entry | None:
    """A local file as an entry; None where there is none. Its etag follows its time of change and its size."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return Entry(local_uri(path), version(state), state.st_size)


def version(state: os.stat_result) -> str:
    return f"{state.st_mtime_ns:x}-{state.st_size:x}"


def _is_linked_folder(child: os.DirEntry) -> bool:
    try:
        return child.is_symlink() and child.is_dir()
    except OSError:  # a loop
        return False


@contextlib.contextmanager
def _aside(uri: str) -> Iterator[tuple[Path, Path]]:
    """A place beside the file, hidden from globs, and the file's own; nothing stays there, whatever happens."""
    path = Path(path_in_store(uri))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid.uuid4().hex}")
    try:
        yield aside, path
    finally:
        aside.unlink(missing_ok=True)


def _fill(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _create_without_links(path: Path, content: bytes) -> bool:
    """One of two contenders wins here too; only a reader that comes too early may see a part."""
    try:
        with open(path, "xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                path.unlink()
                raise
    except FileExistsError:
        return False
    return True
