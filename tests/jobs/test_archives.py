"""Collections in archives: what is listed, fetched, answered once, and said; on disks and on a real S3 store."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.annotate import annotate
from jobs.commands import doctor, validate
from jobs.flow import archives, ledger, manifest
from jobs.flow.fetch import Fetcher, from_table
from jobs.flow.work import plan_work
from tests.jobs import collection
from tests.store.archives import as_parquet, pictures, tarred, zipped
from tlg import store
from tlg.answers.records import Provenance
from tlg.errors import EmptyCollectionError
from tlg.pictures import decode
from tlg.spec import ImagesSpec

ACCESS = store.DEFAULT_ACCESS
ANY = "**/*.{zip,tar,parquet,png}"


def filled(folder, access=ACCESS):
    """Seven pictures: one a file, two in each archive; beside them things that are none."""
    first, second, third = (pictures(2, folder=name) for name in "abc")
    store.write(f"{folder}/0.png", pictures(1)["a/0.png"], access)
    store.write(f"{folder}/1.zip", zipped({**first, "notes.txt": b"x"}), access)
    store.write(f"{folder}/in/2.tar", tarred({**second, "b/0.json": b"{}", "b/none": b""}), access)
    store.write(f"{folder}/in/train.parquet", as_parquet(third), access)
    return folder


def planned(spec, tmp_path, access=ACCESS, indices=None):
    nothing = ledger.load(str(tmp_path / "nothing"), Provenance("m", "e", "p", "r"), ACCESS)
    listed = manifest.listed(spec, access, None, indices)
    return plan_work(listed, nothing, ["fox"], str(tmp_path / "work"), ACCESS)


def fetched(work, access=ACCESS, **limits):
    tables = Fetcher(work, access, max_pixels=10**6, **limits).fetch(0, work.count)
    return {one.uri: one for table in tables for one in from_table(table)}


def check_everything_is_fetched(folder, tmp_path, access=ACCESS):
    work = planned(ImagesSpec(uri=folder, pattern=ANY), tmp_path, access)
    found = fetched(work, access)
    members = ["0.png", "1.zip#a/0.png", "1.zip#a/1.png", "in/2.tar#b/0.png", "in/2.tar#b/1.png"]
    members += ["in/train.parquet#image/0", "in/train.parquet#image/1"]
    assert sorted(found) == sorted(f"{folder.rstrip('/')}/{member}" for member in members)
    wanted = [decode(content).pixels for content in pictures(2).values()]
    for uri, one in found.items():
        assert one.error_type is None, one.error_message
        assert one.etag == store.stat(uri.partition("#")[0], access).etag
        assert (one.picture.pixels == wanted[uri.endswith(("1.png", "/1"))]).all()
    assert work.left_out == {
        ".txt files in archives": 1,
        ".json files in archives": 1,
        "files without an ending in archives": 1,
    }


def test_members_of_all_kinds_are_images_of_their_own(tmp_path):
    check_everything_is_fetched(filled(str(tmp_path / "in")), tmp_path)


@pytest.mark.cluster
def test_members_are_read_from_s3(swift, tmp_path):
    access = store.Access(swift.endpoint)
    store.s3_client(access).create_bucket(Bucket="archives")
    check_everything_is_fetched(filled("s3://archives/in", access), tmp_path, access)
    one = planned(ImagesSpec(uri="s3://archives/in/1.zip"), tmp_path / "one", access)
    assert [row["uri"] for row in one.read(0, 2).to_pylist()] == [f"s3://archives/in/1.zip#a/{n}.png" for n in "01"]


def test_archives_are_opened_only_where_they_are_asked_for(tmp_path):
    folder = filled(str(tmp_path / "in"))
    by_default = planned(ImagesSpec(uri=folder), tmp_path)
    assert by_default.count == 1
    assert by_default.left_out[".tar files (images.pattern: '**/*.tar' reads the images in them)"] == 1
    alone = planned(ImagesSpec(uri=f"{folder}/in/2.tar"), tmp_path)
    assert alone.count == 2
    some = planned(ImagesSpec(uri=folder, pattern="**/*.zip#*/1.png"), tmp_path)
    assert [row["uri"] for row in some.read(0, some.count).to_pylist()] == [f"{folder}/1.zip#a/1.png"]
    (tmp_path / "in" / "0.png").unlink()
    with pytest.raises(EmptyCollectionError, match=r"images\.pattern: '\*\*/\*\.zip' reads the images in them"):
        list(manifest.listed(ImagesSpec(uri=folder)))


def test_manifests_name_members_too(tmp_path):
    folder = filled(str(tmp_path / "in"))
    uris = ["in/1.zip#a/1.png", "in/in/2.tar#b/0.png", "in/in/train.parquet#image/1"]
    pq.write_table(pa.table({"uri": uris}), tmp_path / "list.parquet")
    found = fetched(planned(ImagesSpec(manifest=str(tmp_path / "list.parquet")), tmp_path))
    assert [one.error_message for one in found.values()] == [None] * 3
    assert found[f"{folder}/1.zip#a/1.png"].etag == store.stat(f"{folder}/1.zip").etag


def test_a_broken_archive_is_one_row_and_loses_nothing_else(tmp_path):
    folder, whole = tmp_path / "in", tarred(pictures(10))
    store.write(f"{folder}/cut.tar", whole[: len(whole) // 2])
    store.write(f"{folder}/none.zip", b"PK\3\4 and no more")
    store.write(f"{folder}/sound.zip", zipped(pictures(3)))
    store.write(f"{folder}/no.parquet", b"PAR1")
    found = fetched(planned(ImagesSpec(uri=str(folder), pattern="*.{zip,tar,parquet}"), tmp_path))
    broken = {uri: one for uri, one in found.items() if one.error_type}
    assert {one.error_type for one in broken.values()} == {"broken_archive"}
    whole_archives = {uri for uri in broken if "#" not in uri}
    assert whole_archives == {f"{folder}/{name}" for name in ("cut.tar", "none.zip", "no.parquet")}
    assert len(broken) <= 4
    assert sum(one.picture is not None for one in found.values()) >= 3 + 4


def test_large_members_are_refused_unread(tmp_path):
    store.write(f"{tmp_path}/in/a.zip", zipped({"a.png": bytes(10**6)}))
    (one,) = fetched(planned(ImagesSpec(uri=f"{tmp_path}/in/a.zip"), tmp_path), max_bytes=10**5).values()
    assert one.error_type == "too_large"


def test_the_index_of_a_tar_is_made_once(tmp_path, monkeypatch):
    archive, kept = f"{tmp_path}/in/a.tar", f"{tmp_path}/out/{archives.FOLDER}"
    store.write(archive, tarred(pictures(5)))
    first = planned(ImagesSpec(uri=archive), tmp_path, indices=kept).read(0, 5)

    def walked(*_):
        raise AssertionError("the tar was read again")

    with monkeypatch.context() as patch:
        patch.setattr(store, "members", walked)
        assert planned(ImagesSpec(uri=archive), tmp_path, indices=kept).read(0, 5).equals(first)
    store.write(archive, tarred(pictures(7)))
    assert planned(ImagesSpec(uri=archive), tmp_path, indices=kept).count == 7


def test_a_listing_holds_no_more_than_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "ENTRIES_PER_BATCH", 3)
    store.write(f"{tmp_path}/in/a.zip", zipped({**pictures(7), "a.txt": b"", "b.txt": b""}))
    batches = list(manifest.listed(ImagesSpec(uri=f"{tmp_path}/in/a.zip")))
    assert [len(batch.uris) for batch in batches] == [3, 3, 1]
    assert sum(batch.left_out[".txt files in archives"] for batch in batches) == 2


def test_a_job_on_archives_is_validated_and_examined(tmp_path, exemplar_folder):
    store.write(f"{tmp_path}/in/a.tar", tarred(pictures(2)))
    store.write(f"{tmp_path}/in/b.tar", b"no tar")
    for name, said in (("a.tar", "a.tar#a/0.png is 16x12"), ("b.tar", "b.tar would be quarantined: ")):
        spec = collection.spec(f"{tmp_path}/in/{name}", exemplar_folder, f"{tmp_path}/out")
        assert any(said in line for line in validate.validate(spec))
        assert doctor.check_images(spec, ACCESS).ok


@pytest.mark.cluster
@pytest.mark.usefixtures("local_ray")
def test_a_run_answers_each_member_once(tmp_path, exemplar_folder):
    discs = {f"{number}.png": collection.picture(number) for number in range(12)}
    store.write(f"{tmp_path}/in/a.zip", zipped(discs))
    store.write(f"{tmp_path}/in/b.tar", tarred(discs))
    store.write(f"{tmp_path}/in/c.parquet", as_parquet(discs))
    spec = collection.spec(f"{tmp_path}/in", exemplar_folder, f"{tmp_path}/out")
    spec = spec.model_copy(update={"images": ImagesSpec(uri=f"{tmp_path}/in", pattern="*.{zip,tar,parquet}")})
    assert (annotate(spec).done, annotate(spec).images) == (36, 0)
    answers = collection.answers(spec.output.uri)
    collection.assert_each_once(answers)
    areas = np.array([row["area"] for row in answers.to_pylist() if row["class_id"] == 1]).reshape(3, 12)
    assert (np.sort(areas, axis=1) == np.sort(areas[0])).all()
    store.write(f"{tmp_path}/in/b.tar", tarred(discs | {"new.png": collection.picture(50)}))
    assert annotate(spec).images == 13
    collection.assert_each_once(collection.answers(spec.output.uri))
