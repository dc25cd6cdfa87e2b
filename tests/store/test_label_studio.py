"""A Label Studio project's addresses and tasks; tests/deploy/test_label_studio_server.py has the real server."""

import pytest

from tlg import store
from tlg.errors import CredentialsError, StorageError
from tlg.store import label_studio, registry
from tlg.store.label_studio import LabelStudioStore, Task

PROJECT = "label-studio+http://studio:8080/projects/7"


class Shelf(store.Store):
    def read(self, uri, max_bytes=None):
        return f"{uri} by the other store".encode()


class Studio:
    address = "http://studio:8080"

    def __init__(self, data):
        self.data = data

    def get(self, path, **_):
        return {"data": self.data}

    def read(self, path, max_bytes=None):
        return f"{path} by Label Studio".encode()


@pytest.mark.parametrize(
    ("data", "content"),
    [
        ({"image": "/data/upload/7/a.png"}, b"/data/upload/7/a.png by Label Studio"),
        ({"image": "http://studio:8080/data/a.png"}, b"/data/a.png by Label Studio"),
        ({"text": "fox", "picture": "s3://traps/a.png"}, b"s3://traps/a.png by the other store"),
    ],
)
def test_an_image_is_where_its_task_says(data, content, monkeypatch):
    monkeypatch.setattr(label_studio, "studio", lambda address: Studio(data))
    shelf = LabelStudioStore(store.DEFAULT_ACCESS, lambda uri, access: Shelf(access))
    assert shelf.read(f"{PROJECT}/tasks/12/a.png") == content


@pytest.mark.parametrize(
    ("data", "message"),
    [({"image": "file:///etc/passwd"}, "a path of Label Studio's own machine"), ({"text": "fox"}, "has no image")],
)
def test_a_task_without_an_image_of_its_own_says_so(data, message, monkeypatch):
    monkeypatch.setattr(label_studio, "studio", lambda address: Studio(data))
    with pytest.raises(StorageError, match=message):
        LabelStudioStore(store.DEFAULT_ACCESS, lambda uri, access: Shelf(access)).read(f"{PROJECT}/tasks/12/a.png")


def test_addresses_that_name_no_project_and_no_task_say_what_is_expected():
    with pytest.raises(StorageError, match=r"expected label-studio\+http://HOST/projects/7"):
        list(store.entries("label-studio+http://studio:8080/7"))
    with pytest.raises(StorageError, match="names no task"):
        store.read(PROJECT)
    assert registry.store_of("label-studio+https://studio/projects/1", store.DEFAULT_ACCESS)


def test_no_token_says_where_one_is_made(monkeypatch):
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    with pytest.raises(CredentialsError, match="put a token of Account & Settings into LABEL_STUDIO_API_KEY"):
        list(store.entries(PROJECT))


def test_a_tasks_name_is_its_files():
    assert Task(12, "/data/upload/7/a%20b.png?x=1", frozenset()).name() == "tasks/12/a b.png"
    assert Task(12, "s3://traps/", frozenset()).name() == "tasks/12/image"
