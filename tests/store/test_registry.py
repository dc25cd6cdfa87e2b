"""A scheme chooses its store: our own, an installed package's, or fsspec's."""

import pytest

from tests import outside
from tlg import store
from tlg.errors import StorageError
from tlg.store import objects, registry

TOY = """
from tlg.store import Store


class Shelf(Store):
    def read(self, uri, max_bytes=None):
        return f"{uri} at {self.access.endpoint}".encode()
"""


@pytest.fixture(autouse=True)
def fresh():
    registry._made.cache_clear()
    yield
    registry._made.cache_clear()


def test_an_outside_package_brings_a_scheme(tmp_path, monkeypatch):
    outside.install(tmp_path, monkeypatch, "toy_shelf", TOY, {"tlg.stores": ["shelf = toy_shelf:Shelf"]})
    assert store.read("shelf://a", store.Access("there")) == b"shelf://a at there"
    with pytest.raises(StorageError, match=r"shelf://b: a store of shelf:// is only read; use another store"):
        store.write("shelf://b", b"1")
    with pytest.raises(StorageError, match="no exclusive create"):
        store.create("shelf://b", b"1")


def test_fsspec_knows_the_rest():
    store.write("memory://box/a/1.jpg", b"content")
    store.write("memory://box/b.txt", b"text")
    assert store.create("memory://box/c", b"1")
    assert not store.create("memory://box/c", b"2")
    assert store.read("memory://box/c") == b"1"
    found = {entry.uri: entry for entry in store.entries("memory://box", "**/*.jpg")}
    assert list(found) == ["memory://box/a/1.jpg"]
    assert store.read("memory://box/a/1.jpg") == b"content"
    assert store.read_range("memory://box/a/1.jpg", 3, 100) == b"tent"
    assert store.read_range("memory://box/a/1.jpg", 30, 100) == b""
    with store.open_input("memory://box/a/1.jpg") as file:
        file.seek(3)
        assert file.read(2) == b"te"
    assert store.exists("memory://box/a/1.jpg")
    assert store.is_folder("memory://box/a")
    before = found["memory://box/a/1.jpg"].etag
    store.write("memory://box/a/1.jpg", b"changed")
    assert next(store.entries("memory://box", "a/*")).etag != before
    with pytest.raises(StorageError) as missing:
        store.read("memory://box/none")
    assert missing.value.missing
    with pytest.raises(StorageError) as large:
        store.read("memory://box/a/1.jpg", max_bytes=3)
    assert large.value.kind == "too_large"
    store.delete_folder("memory://box")
    store.delete_folder("memory://box")
    assert store.listed("memory://box", "**") == []


def test_an_unknown_scheme_and_a_missing_package_say_the_way_out(monkeypatch):
    with pytest.raises(StorageError, match=r"nowhere://a: unknown store nowhere://; expected a path, s3://"):
        store.read("nowhere://a")

    def absent(*_, **__):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(objects, "url_to_fs", absent)
    with pytest.raises(
        StorageError, match=r'gs://b/a: the package for gs:// is not installed; pip install "tlg\[gcs\]"'
    ):
        store.read("gs://b/a")


def test_stores_that_look_before_they_write_are_refused_as_outputs(monkeypatch):
    with pytest.raises(StorageError, match=r"sftp://host/a: .* cannot keep two writers apart"):
        store.create("sftp://host/a", b"1")


class Refusing:
    """Google's file system where it raises what gcsfs raises."""

    protocol = ("gs", "gcs")

    def __init__(self, error):
        self.error = error

    def pipe_file(self, path, value, mode="overwrite"):
        raise self.error

    def cat_file(self, path):
        raise self.error


@pytest.mark.parametrize(
    ("error", "denied", "transient"),
    [
        (OSError("Forbidden: b/a"), True, False),
        (ValueError("Bad Request: b/404"), False, False),
        (ConnectionResetError("reset"), False, True),
    ],
)
def test_what_file_systems_say_with_pythons_own_exceptions(monkeypatch, error, denied, transient):
    monkeypatch.setattr(objects, "url_to_fs", lambda uri, **options: (Refusing(error), uri))
    with pytest.raises(StorageError) as caught:
        store.read("gs://b/a", store.Access(patience_seconds=0))
    assert (caught.value.denied, caught.value.transient, caught.value.missing) == (denied, transient, False)


def test_a_put_whose_condition_does_not_hold_finds_something_there(monkeypatch):
    monkeypatch.setattr(objects, "url_to_fs", lambda uri, **options: (Refusing(FileExistsError("b/a")), uri))
    assert not store.create("gs://b/a", b"mine")
