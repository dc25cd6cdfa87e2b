"""A CVAT task's addresses and frames over HTTP; tests/deploy/test_tool_sdks.py has CVAT's own SDK."""

import pytest

from tests.servers.cvat import TOKEN, Cvat, serving
from tlg import store
from tlg.errors import CredentialsError, StorageError
from tlg.store import registry

PICTURES = {"north/a.png": b"one", "north/b.png": b"two", "c d.png": b"three"}


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    with serving(Cvat(PICTURES, {"fox": "mask"})) as cvat:
        yield cvat


def test_a_task_lists_its_frames_and_reads_them_as_they_were_uploaded(task):
    entries = list(store.entries(task.uri, "**/*.png"))
    assert [entry.uri for entry in entries] == [
        f"{task.uri}/frames/{number}/{name}" for number, name in enumerate(PICTURES)
    ]
    assert [store.read(entry.uri) for entry in entries] == list(PICTURES.values())
    assert len({entry.etag for entry in entries}) == len(PICTURES)
    assert len(list(store.entries(task.uri, "frames/*/north/*.png"))) == 2
    assert store.is_folder(task.uri)


def test_deleted_frames_are_not_listed_and_numbers_stay(task):
    task.deleted = [0]
    assert [entry.uri.removeprefix(task.uri) for entry in store.entries(task.uri, "**/north/*")] == [
        "/frames/1/north/b.png"
    ]


def test_what_is_not_there_is_missing(task):
    for uri in (f"{task.uri}/frames/99/x.png", f"cvat+{task.url}/tasks/8/frames/0/a.png"):
        with pytest.raises(StorageError) as caught:
            store.read(uri)
        assert caught.value.missing
    assert not store.exists(f"cvat+{task.url}/tasks/8")


def test_a_task_is_only_read(task):
    with pytest.raises(StorageError, match="is only read"):
        store.write(f"{task.uri}/frames/0/a.png", b"")


def test_a_video_is_refused_in_words(task, monkeypatch):
    monkeypatch.setattr(Cvat, "meta", lambda self: {"size": 300, "frames": [{"name": "walk.mp4"}]})
    with pytest.raises(StorageError, match="found 300 frames and 1 pictures, so this is a video"):
        list(store.entries(task.uri))


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_token_that_is_refused_says_which_variable(task, monkeypatch, token):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", token)
    with pytest.raises(CredentialsError, match="put a personal access token into CVAT_ACCESS_TOKEN"):
        list(store.entries(task.uri))


def test_addresses_that_name_no_task_and_no_frame_say_what_is_expected():
    with pytest.raises(StorageError, match=r"expected cvat\+https://HOST/tasks/7"):
        list(store.entries("cvat+http://cvat/7"))
    with pytest.raises(StorageError, match="names no frame"):
        store.read("cvat+http://cvat/tasks/7")
    assert registry.store_of("cvat+https://app.cvat.ai/tasks/7", store.DEFAULT_ACCESS)
