"""The exemplar store's promises: a digest lasts as long as anything may use it, and no race breaks a set."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import ExemplarStore, PackedSet
from tlg import store
from tlg.errors import SpecError

LONG_AGO = json.dumps({"at": 0}).encode()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "exemplars"


@pytest.fixture
def make_packed(make_picture):
    """A set of one class: `make_packed(1, 2)` holds the pictures of seeds 1 and 2."""

    def make(*seeds, name="fox"):
        files = {f"images/{seed}": make_picture(seed) for seed in seeds}
        document = {"name": "packed", "classes": [{"name": name, "exemplars": [{"image": path} for path in files]}]}
        return PackedSet(document, files)

    return make


def age(folder, digest):
    (folder / "used" / f"{digest}.json").write_bytes(LONG_AGO)


def files_of(folder, digest):
    return sorted(str(path.relative_to(folder)) for path in (folder / "sets" / digest).rglob("*") if path.is_file())


def test_a_replaced_set_is_still_there_under_its_digest(folder, make_packed):
    kept = ExemplarStore(str(folder))
    old, _ = kept.put("foxes", make_packed(1))
    new, is_new = kept.put("foxes", make_packed(2))
    assert not is_new
    assert old.digest != new.digest
    assert kept.load(old.digest).digest == old.digest
    assert kept.get(old.digest).digest == old.digest
    kept.delete("foxes")
    assert kept.load(new.digest).digest == new.digest


def test_content_goes_when_nobody_used_it_for_the_stated_time_and_nothing_else_does(folder, make_packed):
    kept = ExemplarStore(str(folder))
    named, _ = kept.put("foxes", make_packed(1))
    unnamed = [kept.put("other", make_packed(seed))[0].digest for seed in (2, 3, 4)]
    kept.delete("other")
    for digest in (named.digest, *unnamed[:2]):
        age(folder, digest)
    kept.mark_used(unnamed[1])
    kept.sweep()
    assert files_of(folder, unnamed[0]) == []
    for digest in (named.digest, *unnamed[1:]):
        assert kept.load(digest).digest == digest


def test_content_without_a_mark_of_use_begins_its_time(folder, make_packed):
    kept = ExemplarStore(str(folder))
    digest = kept.put("foxes", make_packed(1))[0].digest
    kept.delete("foxes")
    (folder / "used" / f"{digest}.json").unlink()
    kept.sweep()
    assert kept.load(digest).digest == digest
    age(folder, digest)
    kept.sweep()
    assert files_of(folder, digest) == []


def test_with_no_days_to_keep_a_deleted_set_is_gone_at_once(folder, make_packed):
    kept = ExemplarStore(str(folder), keep_days=0)
    digest = kept.put("foxes", make_packed(1))[0].digest
    kept.delete("foxes")
    assert files_of(folder, digest) == []


def test_the_document_goes_first_and_a_removal_that_died_is_finished_by_the_next(folder, make_packed, monkeypatch):
    kept = ExemplarStore(str(folder))
    digest = kept.put("foxes", make_packed(1, 2))[0].digest
    kept.delete("foxes")
    age(folder, digest)
    delete, deleted = store.delete, []

    def dies_at_the_second(uri, access):
        deleted.append(uri)
        if len(deleted) == 2:
            raise KeyboardInterrupt
        delete(uri, access)

    monkeypatch.setattr(store, "delete", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        kept.sweep()
    monkeypatch.setattr(store, "delete", delete)
    assert deleted[0].endswith(f"{digest}/set.json")
    assert len(files_of(folder, digest)) == 2
    kept.sweep()
    assert files_of(folder, digest) == []


@pytest.mark.parametrize("lost", ["set.json", "images/*", "*"])
def test_a_half_written_set_is_repaired_by_the_next_put(folder, make_packed, lost):
    kept = ExemplarStore(str(folder))
    digest = kept.put("foxes", make_packed(1, 2))[0].digest
    for path in (folder / "sets" / digest).glob(lost):
        if path.is_file():
            path.unlink()
    assert kept.put("foxes", make_packed(1, 2))[0].digest == digest
    assert kept.load(digest).digest == digest


def test_a_document_that_was_cut_short_is_repaired_by_the_next_put(folder, make_packed):
    kept = ExemplarStore(str(folder))
    digest = kept.put("foxes", make_packed(1))[0].digest
    (folder / "sets" / digest / "set.json").write_text('{"name": "fo')
    kept.put("foxes", make_packed(1))
    assert kept.load(digest).digest == digest


def test_a_put_in_the_middle_of_a_removal_loses_nothing(folder, make_packed, monkeypatch):
    kept = ExemplarStore(str(folder))
    packed = make_packed(1, 2)
    digest = kept.put("foxes", packed)[0].digest
    kept.delete("foxes")
    age(folder, digest)
    delete, write = store.delete, store.write
    is_named, removing = threading.Event(), threading.Event()
    other = ExemplarStore(str(folder))
    putting = threading.Thread(target=lambda: other.put("again", packed))

    def delete_slowly(uri, access):
        if not removing.is_set():
            removing.set()
            putting.start()
            assert is_named.wait(20)
        delete(uri, access)

    def write_and_say(uri, content, access):
        write(uri, content, access)
        if uri.endswith("/names/again.json"):
            is_named.set()

    monkeypatch.setattr(store, "delete", delete_slowly)
    monkeypatch.setattr(store, "write", write_and_say)
    kept.sweep()
    putting.join()
    assert kept.load(digest).digest == digest
    assert kept.get("again").digest == digest


def test_a_claim_that_somebody_left_behind_holds_up_nobody(folder, make_packed):
    kept = ExemplarStore(str(folder))
    digest = kept.put("foxes", make_packed(1))[0].digest
    kept.delete("foxes")
    age(folder, digest)
    claim = folder / "sweeping" / f"{digest}.json"
    claim.parent.mkdir(exist_ok=True)
    claim.write_bytes(LONG_AGO)
    kept.sweep()  # finds the claim abandoned
    kept.sweep()
    assert files_of(folder, digest) == []
    claim.write_bytes(LONG_AGO)
    kept.put("foxes", make_packed(1))
    assert kept.load(digest).digest == digest


def test_puts_and_deletes_of_common_content_end_well(folder, make_packed):
    kept = ExemplarStore(str(folder), keep_days=0)
    packed = make_packed(1)

    refusals = []

    def put_and_delete(number):
        for turn in range(8):
            kept.put(f"name-{(number + turn) % 3}", packed)
            try:
                kept.delete(f"name-{number % 3}")
            except ProblemError as problem:
                refusals.append(problem.status)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put_and_delete, range(4)))
    assert set(refusals) <= {404}
    digest = kept.put("last", packed)[0].digest
    assert kept.load(digest).digest == digest


def test_equal_sets_have_equal_files_whoever_packed_them(folder, make_packed):
    kept = ExemplarStore(str(folder))
    packed = make_packed(1)
    (path, content), place = next(iter(packed.files.items())), "elsewhere/picture"
    moved = json.loads(json.dumps(packed.document).replace(path, place))
    first = kept.put("one", packed)[0].digest
    before = files_of(folder, first)
    assert kept.put("two", PackedSet(moved, {place: content}))[0].digest == first
    assert files_of(folder, first) == before


def test_a_name_may_not_look_like_a_digest(folder, make_packed):
    kept = ExemplarStore(str(folder))
    digest = kept.put("foxes", make_packed(1))[0].digest
    with pytest.raises(ProblemError) as refused:
        kept.put(digest, make_packed(2))
    assert refused.value.status == 422
    assert kept.get(digest).digest == digest
    with pytest.raises(ProblemError) as named:
        kept.delete(digest)
    assert named.value.status == 409


def test_answers_and_errors_tell_no_place_on_the_server(folder, make_packed):
    kept = ExemplarStore(str(folder), tells_place=False)
    stored, _ = kept.put("foxes", make_packed(1))
    assert stored.uri is None
    assert kept.get("foxes").uri is kept.get(stored.digest).uri is None
    assert [one.uri for one in kept.list()] == [None]
    assert kept.document_uri(stored.digest).startswith(str(folder))
    next(Path(folder, "sets", stored.digest, "images").iterdir()).unlink()
    with pytest.raises(SpecError) as broken:
        kept.load(stored.digest)
    assert str(folder) not in str(broken.value)
    bucket = ExemplarStore("s3://bucket/sets", tells_place=False)
    record = stored.model_copy(update={"uri": "s3://bucket/sets/x"})
    assert bucket._told(record).uri == "s3://bucket/sets/x"


def test_a_lasting_digest_costs_one_mark_a_day(folder, make_packed, monkeypatch):
    kept = ExemplarStore(str(folder))
    digest = kept.put("foxes", make_packed(1))[0].digest
    age(folder, digest)
    written = []
    monkeypatch.setattr(store, "write", lambda uri, content, access: written.append(uri))
    kept.get(digest)
    monkeypatch.undo()
    assert len(written) == 1
    kept.mark_used(digest)
    monkeypatch.setattr(store, "write", lambda uri, content, access: written.append(uri))
    kept.get(digest)
    assert len(written) == 1
