"""The job on a real S3 store: end to end, with the wrong secret, and through a store that misbehaves."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from pyarrow.fs import S3FileSystem
from pycocotools.coco import COCO

from jobs.annotate import annotate
from jobs.commands import validate
from jobs.output import shards
from tests.jobs import collection
from tests.servers.moody_proxy import MoodyProxy
from tlg import store
from tlg.errors import LeaseHeldError, StorageError

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("local_ray")]
COUNT = 300


@pytest.fixture(scope="module")
def bucket(swift):
    """`s3://traps/in/` with a few hundred images."""
    access = store.Access(swift.endpoint)
    store.s3_client(access).create_bucket(Bucket="traps")
    with ThreadPoolExecutor(4) as pool:
        uris = [f"s3://traps/in/{number % 5}/{number:04d}.png" for number in range(COUNT)]
        list(pool.map(lambda number: store.write(uris[number], collection.picture(number), access), range(COUNT)))
    return access


def spec(exemplar_folder, out, endpoint, **changes):
    return collection.spec("s3://traps/in/", exemplar_folder, out, storage={"endpoint": endpoint}, **changes)


@pytest.mark.long
def test_end_to_end_and_through_a_moody_store(bucket, swift, exemplar_folder, tmp_path):
    calm = spec(exemplar_folder, "s3://traps/calm", swift.endpoint)
    assert len(list(validate.validate(calm))) == 4
    summary = annotate(calm)
    assert (summary.done, summary.masks, summary.errors) == (COUNT, COUNT, 0)
    answers = collection.answers("s3://traps/calm", bucket)
    collection.assert_each_once(answers)
    assert len(answers) == 2 * COUNT
    arrow = S3FileSystem(endpoint_override=swift.endpoint.removeprefix("http://"), scheme="http", region="us-east-1")
    by_arrow = pq.read_table("traps/calm/annotations", filesystem=arrow)
    assert len(by_arrow) == 2 * COUNT
    (tmp_path / "coco.json").write_bytes(store.read("s3://traps/calm/coco/instances.json", bucket))
    assert len(COCO(str(tmp_path / "coco.json")).anns) == COUNT
    assert annotate(calm).images == 0

    with MoodyProxy(int(swift.endpoint.rsplit(":", 1)[1])) as proxy:
        moody = spec(exemplar_folder, "s3://traps/moody", proxy.endpoint)
        summary = annotate(moody)
        assert (summary.done, summary.errors, summary.deferred) == (COUNT, 0, 0)
    assert set(proxy.moods) == {"slow down", "reset", "cut short", "stall"}
    assert collection.answers("s3://traps/moody", bucket).equals(answers)


def test_an_image_that_vanishes_is_an_error_of_its_own(bucket, swift, exemplar_folder, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("uri\ns3://traps/in/0/0000.png\ns3://traps/in/0/gone.png\n")
    job = spec(
        exemplar_folder,
        "s3://traps/vanished",
        swift.endpoint,
        images={"manifest": str(manifest)},
        run={"max_error_rate": 1.0},
    )
    assert annotate(job).error_types == {"vanished": 1}


def test_wrong_secret_is_one_clear_error(bucket, swift, exemplar_folder, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store.s3_client.cache_clear()
    try:
        with pytest.raises(
            StorageError, match=r"s3://traps/.*the store refuses access; check the credentials"
        ) as caught:
            annotate(spec(exemplar_folder, "s3://traps/never", swift.endpoint))
        assert "\n" not in str(caught.value)
    finally:
        store.s3_client.cache_clear()


def test_one_of_two_writers_wins(bucket):
    from jobs.output.lease import Lease

    with Lease("s3://traps/lease", "first", bucket) as first:
        assert first.number == 1
        with pytest.raises(LeaseHeldError, match=r"run first on .* is writing here"):
            Lease("s3://traps/lease", "second", bucket).__enter__()
    with Lease("s3://traps/lease", "third", bucket) as third:
        assert third.number == 2
    assert not shards.committed("s3://traps/lease", bucket)
