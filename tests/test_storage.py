"""One way to open, list and commit, whatever the store."""

import os
import pickle
import re

import pytest

from tlg import storage
from tlg.errors import InputError, StorageError


def test_create_succeeds_once_and_leaves_nothing_behind(tmp_path):
    uri = f"{tmp_path}/a/b.json"
    assert storage.create(uri, b"first")
    assert not storage.create(uri, b"second")
    assert storage.read(uri) == b"first"
    assert os.listdir(tmp_path / "a") == ["b.json"]


def test_write_replaces_as_a_whole(tmp_path):
    uri = f"{tmp_path}/a/b.json"
    storage.write(uri, b"first")
    storage.write(uri, b"second")
    assert storage.read(uri) == b"second"
    assert os.listdir(tmp_path / "a") == ["b.json"]


def test_entries_change_their_etag_with_the_content(tmp_path):
    for name in ("x/1.jpg", "x/y/2.JPG", "x/y/3.txt"):
        storage.write(f"{tmp_path}/{name}", name.encode())
    found = list(storage.entries(str(tmp_path), "**/*.{jpg,JPG}"))
    assert [os.path.relpath(one.uri, tmp_path) for one in found] == ["x/1.jpg", "x/y/2.JPG"]
    before = found[0].etag
    storage.write(found[0].uri, b"another content")
    assert next(storage.entries(str(tmp_path), "x/*.jpg")).etag != before


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**/*.jpg", "a.jpg", True),
        ("**/*.jpg", "x/y/a.jpg", True),
        ("*.jpg", "x/a.jpg", False),
        ("2026/*/a?.png", "2026/05/a1.png", True),
        ("2026/*/a?.png", "2026/05/06/a1.png", False),
        ("**", "x/.hidden", True),
        ("a+b(1).jpg", "a+b(1).jpg", True),
    ],
)
def test_globs(pattern, path, matches):
    assert bool(re.fullmatch(storage.glob_to_regex(pattern), path)) == matches


def test_missing_and_refused_are_told_apart(tmp_path):
    with pytest.raises(StorageError, match=r"gone.jpg: does not exist") as missing:
        storage.read(f"{tmp_path}/gone.jpg")
    assert (missing.value.missing, missing.value.transient) == (True, False)
    with pytest.raises(StorageError) as refused:
        storage.read(str(tmp_path))
    assert (refused.value.denied, refused.value.transient) == (True, False)
    assert storage.listed(f"{tmp_path}/nowhere", "*") == []


def test_a_link_to_nowhere_is_listed(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    assert [one.etag for one in storage.entries(str(tmp_path), "*.jpg")] == [""]


def test_errors_keep_what_they_know_on_their_way_between_processes():
    error = pickle.loads(pickle.dumps(StorageError("slow", transient=True)))
    assert (str(error), error.transient, error.missing) == ("slow", True, False)
    assert pickle.loads(pickle.dumps(InputError("cut", kind="truncated"))).kind == "truncated"


def test_upload_and_delete_folder(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 1000)
    storage.upload(tmp_path / "big", f"{tmp_path}/out/deep/big")
    assert storage.read(f"{tmp_path}/out/deep/big") == b"x" * 1000
    storage.delete_folder(f"{tmp_path}/out")
    storage.delete_folder(f"{tmp_path}/out")
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
def test_the_same_on_s3(swift):
    access = storage.Access(swift.endpoint)
    storage.s3_client(access).create_bucket(Bucket="plain")
    uri = "s3://plain/a/b c+ü.json"
    assert storage.create(uri, b"first", access)
    assert not storage.create(uri, b"second", access)
    storage.write(uri, b"third", access)
    assert storage.read(uri, access) == b"third"
    (entry,) = storage.entries("s3://plain", "**/*", access)
    assert (entry.uri, entry.size) == (uri, 5)
    assert storage.exists(uri, access)
    assert storage.is_folder("s3://plain/a", access)
    with pytest.raises(StorageError) as missing:
        storage.read("s3://plain/none", access)
    assert missing.value.missing
    storage.delete_folder("s3://plain/a", access)
    assert storage.listed("s3://plain/a", "**", access) == []
