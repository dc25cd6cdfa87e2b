"""Every scheme against every promise, each on a real store; what a store cannot do, it refuses in one clear line.

docs/stores.md shows this file as a table (docs/write_stores.py).
"""

import contextlib
import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers import stores
from tests.servers.environments import Unavailable
from tests.store.matrix import NOT_HERE, SCHEMES
from tlg import store
from tlg.errors import CredentialsError, StorageError

pytestmark = pytest.mark.cluster
WRITERS = 8


@pytest.fixture(scope="module", params=SCHEMES)
def place(request):
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(stores.of(request.param))
        except Unavailable as error:
            pytest.skip(str(error))
        yield made


@pytest.fixture
def reached(place):
    with stores.environment_of(place):
        yield place


def is_here(place, cell):
    return (store.scheme(place.uri), cell) not in NOT_HERE


def test_list(reached):
    if not is_here(reached, "list"):
        with pytest.raises(StorageError, match="cannot be listed"):
            list(store.entries(reached.uri, access=reached.access))
        return
    listed = {entry.uri: entry for entry in store.entries(f"{reached.uri}/in", "**/*.png", reached.access)}
    assert {uri: entry.size for uri, entry in listed.items()} == {
        f"{reached.uri}/{name}": len(content) for name, content in stores.CONTENT.items()
    }
    assert all(entry.etag for entry in listed.values())
    assert store.is_folder(f"{reached.uri}/in", reached.access)
    assert store.listed(f"{reached.uri}/nowhere", "**", reached.access) == []
    uri = next(iter(listed))
    if store.scheme(uri) in stores.READ_ONLY:
        return
    before = store.read(uri, reached.access)
    try:
        store.write(uri, b"another content, of another size", reached.access)
        (changed,) = [one for one in store.entries(f"{reached.uri}/in", access=reached.access) if one.uri == uri]
        assert changed.size == 32, "a listing is never an older one"
        assert changed.etag != listed[uri].etag
    finally:
        store.write(uri, before, reached.access)


def test_range(reached):
    name, content = next(reversed(stores.CONTENT.items()))
    uri = f"{reached.uri}/{name}"
    assert store.read(uri, reached.access) == content
    assert store.size(uri, reached.access) == len(content)
    for start, length in [(0, 10), (995, 4), (998, 100), (5000, 5), (10, 0)]:
        assert store.read_range(uri, start, length, reached.access) == content[start : start + length]
    with store.open_input(uri, reached.access) as file:
        file.seek(-3, io.SEEK_END)
        assert file.read() == content[-3:]
    with pytest.raises(StorageError) as missing:
        store.read(f"{reached.uri}/in/none.png", reached.access)
    assert missing.value.missing
    with pytest.raises(StorageError) as large:
        store.read(uri, reached.access, max_bytes=3)
    assert large.value.kind == "too_large"


def test_exclusive_create(reached):
    uri = f"{reached.uri}/lease/00000001.json"
    if not is_here(reached, "exclusive create"):
        with pytest.raises(StorageError, match="cannot keep two writers apart"):
            store.create(uri, b"mine", reached.access)
        return
    # Swift looks for the object before it takes the body, so that two writers of one instant can both be told that they
    # won; S3 itself excludes that. Such a second holder is noticed by the lease (tests/jobs/test_lease.py).
    with ThreadPoolExecutor(1 if store.scheme(uri) == "s3" else WRITERS) as pool:
        won = list(pool.map(lambda number: store.create(uri, b"%d" % number, reached.access), range(WRITERS)))
    assert sum(won) == 1
    assert store.read(uri, reached.access) == b"%d" % won.index(True)
    assert [entry.uri for entry in store.listed(f"{reached.uri}/lease", "*", reached.access)] == [uri]
    store.delete_folder(f"{reached.uri}/lease", reached.access)
    assert store.listed(f"{reached.uri}/lease", "*", reached.access) == []


def test_wrong_secret(place, monkeypatch):
    if not is_here(place, "wrong secret"):
        assert not place.wrong
        return
    if store.scheme(place.uri) == "gs":
        # gcsfs tries a refused key six times by itself; here it does so without its pauses. It reads its environment
        # when it is imported, so no other place may be the first to do so.
        monkeypatch.setattr("gcsfs.retry.min", lambda *seconds: 0, raising=False)
    name = next(iter(stores.CONTENT))
    with stores.environment_of(place, wrong=True):
        for action in (
            lambda: list(store.entries(place.uri, access=place.access)),
            lambda: store.read(f"{place.uri}/{name}", place.access),
        ):
            with pytest.raises(CredentialsError, match="the store refuses access; check the credentials") as caught:
                action()
            assert (caught.value.denied, caught.value.transient) == (True, False)
            assert "\n" not in str(caught.value)
