"""One way to open, list and commit, whatever the store."""

import os
import pickle

import pytest

from tlg import store
from tlg.errors import CredentialsError, InputError, StorageError


def test_create_succeeds_once_and_leaves_nothing_behind(tmp_path):
    uri = f"{tmp_path}/a/b.json"
    assert store.create(uri, b"first")
    assert not store.create(uri, b"second")
    assert store.read(uri) == b"first"
    assert os.listdir(tmp_path / "a") == ["b.json"]


def test_write_replaces_as_a_whole(tmp_path):
    uri = f"{tmp_path}/a/b.json"
    store.write(uri, b"first")
    store.write(uri, b"second")
    assert store.read(uri) == b"second"
    assert os.listdir(tmp_path / "a") == ["b.json"]


def test_entries_change_their_etag_with_the_content(tmp_path):
    for name in ("x/1.jpg", "x/y/2.JPG", "x/y/3.txt"):
        store.write(f"{tmp_path}/{name}", name.encode())
    found = list(store.entries(str(tmp_path), "**/*.{jpg,JPG}"))
    assert [os.path.relpath(one.uri, tmp_path) for one in found] == ["x/1.jpg", "x/y/2.JPG"]
    before = found[0].etag
    store.write(found[0].uri, b"another content")
    assert next(store.entries(str(tmp_path), "x/*.jpg")).etag != before


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
        ("{*,b}.jpg", "x/a.jpg", False),
        ("{*,b}.jpg", "a.jpg", True),
        ("cam[0-4]/*.jpg", "cam3/a.jpg", True),
        ("cam[0-4]/*.jpg", "cam5/a.jpg", False),
        ("**/*.jpg", "two\nlines/a.jpg", True),
        ("**/*", "x//y/../a.jpg", True),
        ("*.jpg", "a.JPG", False),
    ],
)
def test_globs(pattern, path, matches):
    assert store.matcher(pattern)(path) == matches


def test_missing_and_refused_are_told_apart(tmp_path):
    with pytest.raises(StorageError, match=r"gone.jpg: does not exist") as missing:
        store.read(f"{tmp_path}/gone.jpg")
    assert (missing.value.missing, missing.value.transient) == (True, False)
    with pytest.raises(StorageError) as refused:
        store.read(str(tmp_path))
    assert (refused.value.denied, refused.value.transient) == (True, False)
    assert store.listed(f"{tmp_path}/nowhere", "*") == []


def test_a_link_to_nowhere_is_listed(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    assert [one.etag for one in store.entries(str(tmp_path), "*.jpg")] == [""]


@pytest.mark.parametrize(
    ("folder", "value", "expected"),
    [
        ("/data", "a.jpg", "/data/a.jpg"),
        ("file:///my%20data", "a.jpg", "/my data/a.jpg"),
        ("s3://b/lists", "../a.jpg", "s3://b/a.jpg"),
        ("s3://b/lists", "HTTP://web/a.jpg", "HTTP://web/a.jpg"),
    ],
)
def test_places_are_joined(folder, value, expected):
    assert store.join(folder, value) == expected


def test_a_scheme_is_one_word_before_the_slashes():
    assert [store.scheme(uri) for uri in ("HTTP://web/a", "/mirror/http://web/a", "gs://b/a")] == ["http", "file", "gs"]


def test_errors_keep_what_they_know_on_their_way_between_processes():
    error = pickle.loads(pickle.dumps(StorageError("slow", transient=True)))
    assert (str(error), error.transient, error.missing) == ("slow", True, False)
    assert type(pickle.loads(pickle.dumps(CredentialsError("expired", denied=True)))) is CredentialsError
    assert pickle.loads(pickle.dumps(StorageError("pipe", kind="not_a_file"))).kind == "not_a_file"
    assert pickle.loads(pickle.dumps(InputError("cut", kind="truncated"))).kind == "truncated"


def test_upload_and_delete_folder(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 1000)
    store.upload(tmp_path / "big", f"{tmp_path}/out/deep/big")
    assert store.read(f"{tmp_path}/out/deep/big") == b"x" * 1000
    store.delete_folder(f"{tmp_path}/out")
    store.delete_folder(f"{tmp_path}/out")
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
def test_the_same_on_s3(swift):
    access = store.Access(swift.endpoint)
    store.s3_client(access).create_bucket(Bucket="plain")
    uri = "s3://plain/a/b c+ü.json"
    assert store.create(uri, b"first", access)
    assert not store.create(uri, b"second", access)
    store.write(uri, b"third", access)
    assert store.read(uri, access) == b"third"
    (entry,) = store.entries("s3://plain", "**/*", access)
    assert (entry.uri, entry.size) == (uri, 5)
    assert store.exists(uri, access)
    assert store.is_folder("s3://plain/a", access)
    with pytest.raises(StorageError) as missing:
        store.read("s3://plain/none", access)
    assert missing.value.missing
    store.delete_folder("s3://plain/a", access)
    assert store.listed("s3://plain/a", "**", access) == []
