"""Local folders as real machines have them."""

import errno
import os
import socket

import pytest

from tlg import store
from tlg.errors import StorageError


def kind_of(path):
    with pytest.raises(StorageError) as caught:
        store.read(str(path))
    assert not caught.value.transient
    return caught.value.kind


def test_only_regular_files_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
    os.symlink("loop.jpg", "loop.jpg")
    os.symlink("n" * 255 + "/x", "gone.jpg")
    assert [kind_of(name) for name in ("pipe.jpg", "socket.jpg", "loop.jpg")] == ["not_a_file"] * 3
    assert kind_of("x" * 300 + ".jpg") == "not_a_file"
    assert kind_of("a\0b.jpg") == "not_a_file"
    assert kind_of("/dev/zero") == "not_a_file"
    assert kind_of("gone.jpg") == "vanished"
    assert len(list(store.entries(str(tmp_path)))) == 4


def test_a_name_that_is_not_utf8_has_an_address_that_is_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/f\xfcchse 1.jpg"
    with open(path, "wb") as file:
        file.write(b"content")
    (entry,) = store.entries(str(tmp_path), "*.jpg")
    assert entry.uri.encode().startswith(b"file:///")
    assert store.read(entry.uri) == b"content"
    assert os.fsencode(store.path_in_store(entry.uri)) == path
    assert store.local_state(store.path_in_store(entry.uri)) == entry


def test_names_with_line_breaks_are_listed(tmp_path):
    store.write(f"{tmp_path}/two\nlines/a\nb.jpg", b"1")
    assert len(list(store.entries(str(tmp_path), "**/*.jpg"))) == 1


def test_what_a_listing_leaves_out_is_said(tmp_path):
    store.write(f"{tmp_path}/elsewhere/a.jpg", b"1")
    store.write(f"{tmp_path}/in/b.jpg", b"1")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    said = []
    assert len(list(store.entries(f"{tmp_path}/in", left_out=lambda uri, reason: said.append((uri, reason))))) == 1
    assert said == [(f"{tmp_path}/in/linked", "linked folders, which are not followed")]


def test_folders_that_may_not_be_read_are_said_and_the_root_is_an_error(tmp_path, monkeypatch):
    store.write(f"{tmp_path}/closed/a.jpg", b"1")
    store.write(f"{tmp_path}/open/b.jpg", b"1")
    real = os.scandir

    def guarded(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    said = []
    found = list(store.entries(str(tmp_path), left_out=lambda uri, reason: said.append((uri, reason))))
    assert [os.path.basename(entry.uri) for entry in found] == ["b.jpg"]
    assert said == [(f"{tmp_path}/closed", "folders that may not be read")]
    with pytest.raises(StorageError, match="Permission denied") as caught:
        list(store.entries(f"{tmp_path}/closed"))
    assert caught.value.denied


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_create_is_exclusive_where_there_are_no_hard_links(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    assert store.create(f"{tmp_path}/a", b"first")
    assert not store.create(f"{tmp_path}/a", b"second")
    assert store.read(f"{tmp_path}/a") == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for action in (store.write, store.create):
        with pytest.raises(StorageError, match="No space left on device; make room") as caught:
            action(f"{tmp_path}/a", b"content")
        assert not caught.value.transient
    assert os.listdir(tmp_path) == []


def test_a_file_above_the_bound_is_refused_unread(tmp_path):
    with open(tmp_path / "a.tif", "wb") as file:
        file.truncate(2**40)  # a hole: reading it would take a terabyte
    with pytest.raises(StorageError, match="more than the 1,000") as caught:
        store.read(f"{tmp_path}/a.tif", max_bytes=1000)
    assert caught.value.kind == "too_large"
