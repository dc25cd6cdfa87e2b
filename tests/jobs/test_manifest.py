"""What a collection lists, what it leaves out and says, and how manifests are read."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.flow import deferred, ledger, manifest
from jobs.flow.work import plan_work
from tlg import store
from tlg.answers.records import Provenance
from tlg.errors import EmptyCollectionError, SpecError
from tlg.spec import ImagesSpec
from tlg.store import registry

ACCESS = store.DEFAULT_ACCESS


def names(spec, output=None):
    return [os.path.basename(uri) for batch in manifest.listed(spec, ACCESS, output) for uri in batch.uris]


def planned(spec, tmp_path, put_off=None):
    nothing = ledger.load(str(tmp_path / "nothing"), Provenance("m", "e", "p", "r"), ACCESS)
    work = plan_work(manifest.listed(spec), nothing, ["fox", "hare"], str(tmp_path / "work"), ACCESS, put_off=put_off)
    return work, work.read(0, work.count).to_pylist() if work.count else []


def written(path, text):
    path.write_text(text)
    return ImagesSpec(manifest=str(path), labels="labels" if "labels" in text else None)


def test_an_empty_collection_is_an_error_of_its_own(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(EmptyCollectionError, match="no images: nothing is there; check the name") as caught:
        names(ImagesSpec(uri=f"{tmp_path}/in"))
    assert caught.value.exit_code == 9
    for name in ("a.heic", "b.heic", "notes"):
        (tmp_path / "in" / name).write_bytes(b"x")
    with pytest.raises(EmptyCollectionError, match=r"found 2 \.heic files, 1 file without an ending"):
        names(ImagesSpec(uri=f"{tmp_path}/in"))
    with pytest.raises(EmptyCollectionError, match=r"found 3 files that do not match \*\.jpg"):
        names(ImagesSpec(uri=f"{tmp_path}/in", pattern="*.jpg"))
    with pytest.raises(EmptyCollectionError, match="the manifest has no rows"):
        names(written(tmp_path / "m.csv", "uri\n"))


def test_what_is_left_out_is_counted_and_said_once(tmp_path):
    for name in ("in/a.jpg", "in/b.heic", "in/c.heic", "in/d.txt", "far/e.jpg"):
        store.write(f"{tmp_path}/{name}", b"x")
    (tmp_path / "in" / "far").symlink_to(tmp_path / "far")
    work, rows = planned(ImagesSpec(uri=f"{tmp_path}/in"), tmp_path)
    assert len(rows) == 1
    assert work.remarks() == ["left out: 2 .heic files, 1 .txt file, 1 linked folder, which is not followed"]


@pytest.mark.parametrize("output", ["in/out", "in"])
def test_the_jobs_own_output_is_no_part_of_its_collection(tmp_path, output):
    for name in ("in/a.jpg", "in/sub/b.jpg", f"{output}/overlay/a.jpg", f"{output}/_work/c.png"):
        store.write(f"{tmp_path}/{name}", b"x")
    assert names(ImagesSpec(uri=f"{tmp_path}/in"), f"{tmp_path}/{output}") == ["a.jpg", "b.jpg"]


def test_a_name_that_is_not_utf8_is_an_image_like_others(tmp_path):
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/f\xfcchse.jpg", "wb") as file:
        file.write(b"pixels")
    _, (row,) = planned(ImagesSpec(uri=f"{tmp_path}/in"), tmp_path)
    assert store.read(row["uri"]) == b"pixels"


def test_cells_of_a_csv_are_text_whatever_stands_above_them(tmp_path):
    many = "".join(f"/in/{number}.jpg,{number:05d},7,\n" for number in range(50_000))
    spec = written(tmp_path / "m.csv", f"uri,etag,size,labels\n{many}/in/last.jpg,00123,,fox;hare\n")
    work, rows = planned(spec, tmp_path)
    assert [(row["etag"], row["size"], row["labels"]) for row in rows] == [("00123", None, ["fox", "hare"])]
    assert work.remarks() == ["50,000 images have labels that ask for no class; they are not looked at"]


def test_lines_of_json_may_begin_with_nulls(tmp_path):
    lines = [{"uri": "/a.jpg", "labels": None}, {"uri": "/b.jpg", "labels": ["hare"]}, {"uri": "/c.jpg"}]
    work, rows = planned(written(tmp_path / "m.jsonl", "\n".join(map(json.dumps, lines))), tmp_path)
    assert [row["labels"] for row in rows] == [None, ["hare"], None]
    assert not work.remarks()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.csv", "path\na.jpg\n", "no column 'uri'; it has path"),
        ("m.csv", "uri,labels\na.jpg\n", "line 2 has 1 cells, the header has 2"),
        ("m.csv", "uri,etag,size\na.jpg,1,big\n", "size 'big'; expected a whole number of bytes"),
        ("m.csv", "uri\n\na.jpg\n", None),
        ("m.csv", 'uri\n"a.jpg\n', "cannot be read as a manifest"),
        ("m.csv", "uri,etag\n,1\n", "1 rows without a uri"),
        ("m.jsonl", '{"uri": "a.jpg"}\n{"uri": \n', "line 2 is not JSON"),
        ("m.jsonl", "[1]\n", "line 1 is a list; expected one object a line"),
        ("m.xlsx", "uri\n", "unknown kind of manifest"),
    ],
)
def test_a_wrong_manifest_says_where(tmp_path, name, text, said):
    spec = written(tmp_path / name, text)
    if said is None:
        assert names(spec) == ["a.jpg"]
        return
    with pytest.raises(SpecError, match=said):
        names(spec)


def test_a_parquet_manifest_is_read_by_the_columns_it_needs(tmp_path):
    table = pa.table({"uri": ["/a.jpg", "/b.jpg"], "etag": ["1", None], "other": [b"x" * 100] * 2})
    pq.write_table(table, tmp_path / "m.parquet")
    (batch,) = manifest.listed(ImagesSpec(manifest=str(tmp_path / "m.parquet")))
    assert (batch.uris, batch.etags) == (["/a.jpg", "/b.jpg"], ["1", None])


def test_images_put_off_are_remembered_until_they_could_be_had(tmp_path):
    output = str(tmp_path / "out")
    deferred.record(output, ["s3://b/1", "s3://b/2"], True, ACCESS, lambda: 100.0)
    deferred.record(output, ["s3://b/2", "s3://b/3"], False, ACCESS, lambda: 200.0)
    assert deferred.load(output, ACCESS) == {"s3://b/1": 100.0, "s3://b/2": 100.0, "s3://b/3": 200.0}
    deferred.record(output, ["s3://b/2"], True, ACCESS, lambda: 300.0)
    put_off = deferred.load(output, ACCESS)
    assert put_off == {"s3://b/2": 100.0}
    spec = written(tmp_path / "m.csv", "uri,etag\ns3://b/2,1\ns3://b/4,1\n")
    _, rows = planned(spec, tmp_path, put_off)
    assert [row["put_off_at"] for row in rows] == [100.0, None]


def test_a_store_that_tells_no_sizes_is_believed_in_nothing(monkeypatch):
    """Nought bytes in a listing would make every image look replaced since."""

    class Shelf(store.Store):
        def entries(self, folder, left_out):
            yield "a.jpg", store.Entry(f"{folder}/a.jpg", "v", 0)

    monkeypatch.setitem(registry.OWN, "shelf", Shelf)
    (batch,) = manifest.listed(ImagesSpec(uri="shelf://box"))
    assert batch.sizes == [None]
