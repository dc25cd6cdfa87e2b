"""A range of an object is that slice of its content; a Parquet reader takes its columns and no more."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlg import store
from tlg.errors import StorageError
from tlg.store.ranges import RangeFile

CONTENT = bytes(range(100))
SPANS = [(0, 10), (90, 10), (95, 50), (100, 5), (500, 5), (10, 0)]


@pytest.mark.parametrize(("start", "length"), SPANS)
def test_a_range_is_the_slice(tmp_path, start, length):
    store.write(f"{tmp_path}/a", CONTENT)
    assert store.read_range(f"{tmp_path}/a", start, length) == CONTENT[start : start + length]


def test_an_object_read_by_ranges_is_a_file():
    file = RangeFile(len(CONTENT), lambda start, length: CONTENT[start : start + length])
    assert file.seek(-10, io.SEEK_END) == 90
    assert file.read(4) == CONTENT[90:94]
    assert file.read() == CONTENT[94:]
    assert (file.tell(), file.read(1)) == (100, b"")
    file.seek(3)
    assert io.BufferedReader(file).read(5) == CONTENT[3:8]


def test_parquet_reads_the_columns_it_needs():
    stream = io.BytesIO()
    table = pa.table({"small": range(1000), "large": [f"{number:05d}" * 200 for number in range(1000)]})
    pq.write_table(table, stream, compression="none", use_dictionary=False)
    content = stream.getvalue()
    taken = []

    def read_range(start, length):
        taken.append(length)
        return content[start : start + length]

    small = pq.read_table(RangeFile(len(content), read_range), columns=["small"])["small"]
    assert small.to_pylist() == list(range(1000))
    assert sum(taken) < len(content) / 5


def test_what_is_not_there_cannot_be_opened(tmp_path):
    with pytest.raises(StorageError, match="does not exist") as missing:
        store.open_input(f"{tmp_path}/gone")
    assert missing.value.missing


@pytest.mark.cluster
def test_ranges_on_s3(swift):
    access = store.Access(swift.endpoint)
    store.s3_client(access).create_bucket(Bucket="ranges")
    store.write("s3://ranges/a", CONTENT, access)
    for start, length in SPANS:
        assert store.read_range("s3://ranges/a", start, length, access) == CONTENT[start : start + length]
    with store.open_input("s3://ranges/a", access) as file:
        file.seek(-3, io.SEEK_END)
        assert file.read() == CONTENT[-3:]
    with pytest.raises(StorageError) as missing:
        store.open_input("s3://ranges/none", access)
    assert missing.value.missing
