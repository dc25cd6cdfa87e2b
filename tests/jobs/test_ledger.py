"""What counts as done, and that superseded rows go."""

import numpy as np
import pytest

from jobs.flow import ledger, manifest
from jobs.flow.work import plan_work
from jobs.output import catalogue, shards
from jobs.output.lease import Lease
from jobs.output.writer import ShardWriter
from tlg import store
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance
from tlg.errors import SpecError
from tlg.spec import ImagesSpec

NOW = Provenance("model", "exemplars", "params", "run")


def answered(uri, etag="1", classes=(1, 2)):
    return ImageAnswers(uri, etag, [Answer(f"c{one}", one, "absent", 0.1, 0.1, 4, 4) for one in classes])


def failed(uri, etag="1"):
    return ImageAnswers(uri, etag, (), "truncated", "cut short")


def commit(output, *images, provenance=NOW):
    with Lease(output, "run") as lease:
        ShardWriter(catalogue.load(output, keep=True), lease).commit(records.to_table(images, provenance))


def done(output, uri, etag="1", classes=(1, 2), provenance=NOW):
    keys = ledger.image_keys([records.image_id(uri)], [etag])
    return bool(ledger.load(output, provenance).is_done(keys, np.asarray([ledger.classes_key(classes)]))[0])


def test_identity_is_image_version_classes_and_digests(tmp_path):
    output = str(tmp_path)
    assert not done(output, "a")
    commit(output, answered("a"), failed("b"), answered("c", etag=None))
    assert done(output, "a")
    assert done(output, "b")
    assert done(output, "c", etag=None)
    assert not done(output, "a", etag="2")
    assert not done(output, "b", etag="2")
    assert not done(output, "a", classes=(1,))
    for changed in ("model_digest", "exemplars_digest", "params_digest"):
        other = Provenance(**{**NOW.__dict__, changed: "other"})
        assert not done(output, "a", provenance=other)


def test_the_newest_rows_of_an_image_hold_and_the_older_go(tmp_path):
    output = str(tmp_path)
    commit(output, answered("a"), answered("b"))
    commit(output, answered("a", etag="2"))
    assert catalogue.load(output).hidden
    assert not done(output, "a", etag="1")
    assert sum(map(len, shards.current(output))) == 4
    with Lease(output, "run") as lease:
        assert ShardWriter(catalogue.load(output), lease).drop_superseded() == 2
    assert not catalogue.load(output).hidden
    rows = [row for shard in shards.committed(output) for row in shards.read(shard, None).to_pylist()]
    assert sorted((row["image_uri"], row["image_etag"], row["class_id"]) for row in rows) == [
        ("a", "2", 1),
        ("a", "2", 2),
        ("b", "1", 1),
        ("b", "1", 2),
    ]


def test_class_sets_do_not_meet():
    rng = np.random.default_rng(0)
    sets = {tuple(sorted(rng.choice(60, rng.integers(1, 8), replace=False).tolist())) for _ in range(5000)}
    assert len({int(ledger.classes_key(one)) for one in sets}) == len(sets)


def listed(uris):
    yield manifest.Listed(uris, ["1"] * len(uris), [10] * len(uris))


def test_work_is_written_in_groups_that_units_never_cross(tmp_path):
    uris = [f"/in/{number}.jpg" for number in range(1300)]
    empty = ledger.load(str(tmp_path), NOW)
    work = plan_work(listed([*uris, *uris[:5]]), empty, ["c1"], str(tmp_path), store.DEFAULT_ACCESS)
    assert (work.count, work.listed) == (1300, 1300)
    units = work.units(128)
    read = [row for start, count in units for row in work.read(int(start), int(count)).to_pylist()]
    assert [row["uri"] for row in read] == uris
    assert [row["position"] for row in read] == list(range(1300))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "uri,labels\na.jpg,red fox;hare\n/b/c.jpg,\n"),
        ("m.tsv", "uri\tlabels\na.jpg\tred fox, hare\n/b/c.jpg\t\n"),
        ("m.jsonl", '{"uri":"a.jpg","labels":["red fox","hare"]}\n{"uri":"/b/c.jpg","labels":[]}\n'),
    ],
)
def test_manifests_of_every_kind(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    spec = ImagesSpec(manifest=str(tmp_path / name), labels="labels")
    (batch,) = manifest.listed(spec)
    assert batch.uris == [str(tmp_path / "a.jpg"), "/b/c.jpg"]
    assert batch.labels == [["red fox", "hare"], []]


def test_manifest_without_the_column_says_what_it_has(tmp_path):
    (tmp_path / "m.csv").write_text("path,size\na.jpg,3\n")
    with pytest.raises(SpecError, match=r"m.csv: no column 'uri'; it has path, size"):
        list(manifest.listed(ImagesSpec(manifest=str(tmp_path / "m.csv"))))
