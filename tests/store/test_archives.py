"""Members of archives: their addresses, how they are found and read, and what is said of damage."""

import struct
import tarfile
import zipfile
from dataclasses import replace

import pytest

from tests.store.archives import as_parquet, picture, pictures, tarred, zipped
from tlg import store
from tlg.errors import StorageError
from tlg.store.archives import Place, names_archives, parquets, parted

LONG = "long/" * 40 + "ü.png"


def written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return store.stat(str(tmp_path / name))


def contents(archive):
    """Name -> bytes of what can be read, and what is said of the rest."""
    found, said = {}, []
    for member in store.members(archive):
        assert Place.of(member.place.text()) == member.place
        uri = f"{archive.uri}#{member.name}" if member.name else archive.uri
        try:
            found[member.name] = store.read_member(uri, member.place, archive.etag)
        except StorageError as error:
            said.append(error)
    assert all((error.kind, error.transient) == ("broken_archive", False) for error in said)
    return found, [str(error) for error in said]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.zip", zipped),
        ("stored.zip", lambda files: zipped(files, zipfile.ZIP_STORED)),
        ("streamed.ZIP", lambda files: zipped(files, streamed=True)),
        ("behind.zip", lambda files: b"#!/bin/sh\n" * 100 + zipped(files)),
        ("pax.tar", tarred),
        ("gnu.tar", lambda files: tarred(files, tarfile.GNU_FORMAT)),
        ("ustar.tar", lambda files: tarred({k: v for k, v in files.items() if k != LONG}, tarfile.USTAR_FORMAT)),
    ],
)
def test_members_are_read_by_place_and_by_name(tmp_path, name, write):
    files = {**pictures(), LONG: picture(7), "a/empty.png": b""}
    archive = written(tmp_path, name, write(files))
    found, said = contents(archive)
    assert said == []
    assert found == {member: content for member, content in files.items() if member in found}
    assert set(files) - set(found) <= ({LONG} if name == "ustar.tar" else set())
    assert store.read(f"{archive.uri}#a/3.png") == files["a/3.png"]
    assert store.exists(f"{archive.uri}#a/3.png")
    assert not store.exists(f"{archive.uri}#a/99.png")
    with pytest.raises(StorageError, match=r"#a/99\.png: there is no such member") as caught:
        store.read(f"{archive.uri}#a/99.png")
    assert caught.value.missing


@pytest.mark.parametrize("plain", [False, True])
def test_rows_of_parquet_are_members(tmp_path, plain):
    files = pictures(11)
    archive = written(tmp_path, "train.parquet", as_parquet(files, plain=plain))
    found, said = contents(archive)
    assert said == []
    assert list(found) == [f"image/{row}" for row in range(11)]
    assert list(found.values()) == list(files.values())
    for row in (9, 0, 5, 10, 1):
        assert store.read(f"{archive.uri}#image/{row}") == list(files.values())[row]
    with pytest.raises(StorageError, match=r"no such row; the file has 11"):
        store.read(f"{archive.uri}#image/11")
    with pytest.raises(StorageError, match="rows are called COLUMN/ROW"):
        store.read(f"{archive.uri}#image")


def test_a_row_without_a_picture_is_one_broken_row(tmp_path):
    files = pictures(5)
    archive = written(tmp_path, "a.parquet", as_parquet({**files, "none": None}))
    found, said = contents(archive)
    assert list(found.values()) == list(files.values())
    assert said == [f"{archive.uri}#image/5: the row has no image bytes"]


def test_a_parquet_file_without_pictures_or_end_is_said(tmp_path):
    whole = as_parquet(pictures(), column="depth", plain=True)
    assert contents(written(tmp_path, "one.parquet", whole))[1] == []
    table = as_parquet({"a": None}).replace(b"bytes", b"bites")
    assert "no column with image bytes; it has label, image" in contents(written(tmp_path, "no.parquet", table))[1][0]
    (said,) = contents(written(tmp_path, "cut.parquet", whole[:-40]))[1]
    assert "no readable index at its end" in said
    assert "write it anew" in said


def test_a_row_group_that_unpacks_to_too_much_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquets, "LARGEST_GROUP_BYTES", 100)
    found, said = contents(written(tmp_path, "a.parquet", as_parquet(pictures(2))))
    assert not found
    assert "at most 100 are read; write the file with fewer rows in a group" in said[0]


def test_a_zip_whose_end_is_lost_gives_what_is_left(tmp_path):
    for streamed in (False, True):
        files = pictures(40)
        whole = zipped(files, streamed=streamed)
        archive = written(tmp_path, f"cut{streamed}.zip", whole[: len(whole) // 2])
        found, said = contents(archive)
        assert 15 < len(found) < 25
        assert found.items() <= files.items()
        assert "its index at the end is lost" in said[0]
        assert len(said) <= 2  # the archive, and the member that was cut


def test_a_tar_that_was_cut_gives_what_is_left(tmp_path):
    files = pictures(10)
    whole = tarred(files)
    at = whole.index(files["a/7.png"]) + 20
    archive = written(tmp_path, "cut.tar", whole[:at])
    found, said = contents(archive)
    assert found == dict(list(files.items())[:7])
    assert f"#a/7.png: cut off with its archive after 20 of {len(files['a/7.png'])} bytes" in said[0]
    assert f"ends at byte {at:,} without the mark of a tar's end" in said[1]


def test_damage_inside_an_archive_costs_one_member(tmp_path):
    files = pictures(10)
    for name, whole in (("a.zip", zipped(files)), ("stored.zip", zipped(files, zipfile.ZIP_STORED))):
        at = whole.index(b"a/4.png") + 30
        found, said = contents(written(tmp_path, name, whole[:at] + bytes(8) + whole[at + 8 :]))
        assert set(files) - set(found) == {"a/4.png"}
        assert len(said) == 1
    whole = tarred(files)
    at = whole.index(b"a/4.png")
    found, said = contents(written(tmp_path, "a.tar", whole[:at] + b"\xff" * 100 + whole[at + 100 :]))
    assert set(files) - set(found) == {"a/4.png"}
    assert "damaged from byte" in said[0]
    assert "the members before and behind are read" in said[0]


def test_bombs_are_refused_by_what_they_say_and_by_what_they_are(tmp_path):
    archive = written(tmp_path, "a.zip", zipped({"bomb.png": bytes(10**7)}))
    (member,) = store.members(archive)
    with pytest.raises(StorageError, match="10,000,000 bytes, more than the 1,000,000") as caught:
        store.read_member(f"{archive.uri}#bomb.png", member.place, archive.etag, max_bytes=10**6)
    assert caught.value.kind == "too_large"
    lying = replace(member.place, size=1000)
    with pytest.raises(StorageError, match="unpacks to more than the 1,000 bytes"):
        store.read_member(f"{archive.uri}#bomb.png", lying, archive.etag, max_bytes=10**6)
    header = bytearray(tarred({"a.png": b"x"})[:512])
    header[124:136] = b"\x80" + (2**60).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    found, said = contents(written(tmp_path, "a.tar", bytes(header) + bytes(1024)))
    assert not found
    assert any("cut off with its archive" in one for one in said)


def test_passwords_and_rare_methods_are_said(tmp_path):
    whole = bytearray(zipped(pictures(1)))
    entry = whole.index(b"PK\1\2")
    whole[entry + 8] |= 1
    assert "encrypted; pack it without a password" in contents(written(tmp_path, "a.zip", bytes(whole)))[1][0]
    squeezed = zipped(pictures(1), zipfile.ZIP_LZMA)
    assert "packed by zip's method 14; pack it as stored" in contents(written(tmp_path, "b.zip", squeezed))[1][0]


def test_an_archive_that_was_replaced_is_no_fault_of_its_members(tmp_path):
    archive = written(tmp_path, "a.zip", zipped(pictures()))
    *_, last = store.members(archive)
    written(tmp_path, "a.zip", zipped(pictures(2)))
    with pytest.raises(StorageError, match=r"a\.zip: replaced since it was listed; run again") as caught:
        store.read_member(f"{archive.uri}#{last.name}", last.place, archive.etag)
    assert caught.value.transient


def test_zips_with_wide_numbers_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    files = pictures(5)
    assert contents(written(tmp_path, "wide.zip", zipped(files))) == (files, [])


def test_addresses_are_parted_at_an_archives_name_alone():
    assert parted("s3://b/x.tar#d/1#2.jpg") == ("s3://b/x.tar", "d/1#2.jpg")
    assert parted("/x/A.ZIP#1.jpg") == ("/x/A.ZIP", "1.jpg")
    for plain in ("/x/photo#1.jpg", "/x/a.zip", "/x/a.zip#", "s3://b/a.tar.gz#1.jpg"):
        assert parted(plain) is None
    assert all(map(names_archives, ("*.tar", "**/*.{zip,tar}", "data/train-*.parquet", "a.ZIP")))
    assert not any(map(names_archives, ("**/*", "*.jpg", "**/*.{jpg,png}", "a.tar/*")))


def test_struct_sizes_of_zip_are_what_they_are_called():
    assert struct.calcsize("<8x4H3L3H") == 34
