"""Zip: an index at the end. Where that is lost, headers before the members say most of it.

Neither index nor members are ever held whole; every size is checked before it is believed.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from tlg.store.archives.members import Member, Place, broken, damaged

ENTRY, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"
END_64, LOCATOR_64, DESCRIPTOR = b"PK\6\6", b"PK\6\7", b"PK\7\x08"
LOCAL_BYTES, ENTRY_BYTES, END_BYTES, LOCATOR_BYTES = 30, 46, 22, 20
LONGEST_COMMENT = 0xFFFF
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF
EXTRA_64 = 1
STORED, DEFLATED = 0, 8
ENCRYPTED, SIZES_FOLLOW, IS_UTF8 = 1, 8, 1 << 11
READ_AHEAD = 1 << 18
# What the header before a member may have more than the index says of it.
SLACK = 512

ReadRange = Callable[[int, int], bytes]


def members(file: io.RawIOBase, size: int) -> Iterator[Member]:
    """Every file, as the index at the end names it; without a sound index, as their own headers do."""
    reader = cast(BinaryIO, io.BufferedReader(file, READ_AHEAD))
    bounds = _index_bounds(reader, size)
    if bounds is None:
        yield from _recovered(reader, size)
        return
    position, count, before = bounds
    reader.seek(position)
    for number in range(count):
        fixed = reader.read(ENTRY_BYTES)
        if len(fixed) < ENTRY_BYTES or fixed[:4] != ENTRY:
            yield broken(f"its index is damaged after {number:,} of {count:,} members, which are read; pack it anew")
            return
        flags, method, _, _, checksum, stored, unpacked, name_bytes, extra_bytes, comment_bytes = struct.unpack(
            "<8x4H3L3H", fixed[:34]
        )
        start = int.from_bytes(fixed[42:46], "little")
        raw_name, extra = reader.read(name_bytes), reader.read(extra_bytes)
        reader.seek(comment_bytes, io.SEEK_CUR)
        unpacked, stored, start = _wide(extra, unpacked, stored, start)
        name = raw_name.decode("utf-8" if flags & IS_UTF8 else "cp437", "backslashreplace")
        if not name.endswith("/"):
            place = _place(before + start, stored, unpacked, method, checksum, flags)
            if before + start + stored > size:
                place = Place("broken", problem="its index entry is damaged: it reaches beyond the archive's end")
            yield Member(name, place)


def read(uri: str, place: Place, read_range: ReadRange) -> bytes:
    """One range, two where a header is unusually long; unpacked to the size that the index says and no further."""
    content = read_range(place.start, LOCAL_BYTES + SLACK + place.stored)
    if content[:4] != LOCAL or len(content) < LOCAL_BYTES:
        raise damaged(uri, "its header in the archive is damaged")
    name_bytes, extra_bytes = struct.unpack("<2H", content[26:30])
    skip = LOCAL_BYTES + name_bytes + extra_bytes
    if skip > LOCAL_BYTES + SLACK:
        content, skip = read_range(place.start + skip, place.stored), 0
    packed = content[skip : skip + place.stored]
    if len(packed) < place.stored:
        raise damaged(uri, f"cut off with its archive after {len(packed):,} of {place.stored:,} bytes")
    unpacked = packed if place.method == STORED else _inflated(uri, packed, place.size)
    if len(unpacked) != place.size or zlib.crc32(unpacked) != place.checksum:
        raise damaged(uri, "damaged: its bytes do not give the archive's checksum")
    return unpacked


def _inflated(uri: str, packed: bytes, size: int) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise damaged(uri, f"damaged, it cannot be unpacked: {error}") from None
    if len(unpacked) > size:
        raise damaged(uri, f"it unpacks to more than the {size:,} bytes that the archive says")
    return unpacked


def _place(start: int, stored: int, size: int, method: int, checksum: int, flags: int) -> Place:
    if flags & ENCRYPTED:
        return Place("broken", problem="encrypted; pack it without a password")
    if method not in (STORED, DEFLATED):
        return Place("broken", problem=f"packed by zip's method {method}; pack it as stored or deflated")
    return Place("zip", start, stored, size, method, checksum)


def _wide(extra: bytes, *values: int) -> list[int]:
    """Sizes and offset, from the extra field where 32 bits did not hold them."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == EXTRA_64:
            wide = [int.from_bytes(extra[at : at + 8], "little") for at in range(4, 4 + length - 7, 8)]
            return [wide.pop(0) if value == FULL_32 and wide else value for value in values]
        extra = extra[4 + length :]
    return list(values)


def _index_bounds(reader: BinaryIO, size: int) -> tuple[int, int, int] | None:
    """Where the index begins, how many members it has, and how much stands before the archive (a program that unpacks
    itself); None where the archive's end is lost."""
    tail_start = max(0, size - END_BYTES - LONGEST_COMMENT - LOCATOR_BYTES)
    reader.seek(tail_start)
    tail = reader.read(size - tail_start)
    at = tail.rfind(END)
    if at < 0 or len(tail) < at + END_BYTES:
        return None
    count, length, start = struct.unpack("<10xH2L", tail[at : at + 20])
    base = tail_start + at
    locator = tail[at - LOCATOR_BYTES : at] if at >= LOCATOR_BYTES else b""
    if locator[:4] == LOCATOR_64:
        base = int.from_bytes(locator[8:16], "little")
        reader.seek(base)
        wide = reader.read(56)
        if wide[:4] != END_64 or len(wide) < 56:
            return None
        count, length, start = struct.unpack("<32x3Q", wide)
    before = base - start - length
    return (before + start, count, before) if before >= 0 and count * ENTRY_BYTES <= length else None


def _recovered(reader: BinaryIO, size: int) -> Iterator[Member]:
    yield broken(
        "its index at the end is lost: it was cut off; the members that are still there are read, pack it anew"
    )
    position = 0
    while (position := _find(reader, LOCAL, position, size)) < size:
        reader.seek(position)
        fixed = reader.read(LOCAL_BYTES)
        if len(fixed) < LOCAL_BYTES:
            return
        flags, method, _, _, checksum, stored, unpacked, name_bytes, extra_bytes = struct.unpack("<6x4H3L2H", fixed)
        raw_name, extra = reader.read(name_bytes), reader.read(extra_bytes)
        unpacked, stored = _wide(extra, unpacked, stored)
        body = position + LOCAL_BYTES + name_bytes + extra_bytes
        if flags & SIZES_FOLLOW and not stored:
            description = _described(reader, body, size)
            if description is None:
                return
            checksum, stored, unpacked = description
        name = raw_name.decode("utf-8" if flags & IS_UTF8 else "cp437", "backslashreplace")
        if not name.endswith("/"):
            there = max(0, min(stored, size - body))
            place = _place(position, there, unpacked, method, checksum, flags)
            if there < stored:
                place = Place("broken", problem=f"cut off with its archive after {there:,} of {stored:,} bytes")
            yield Member(name, place)
        position = body + stored


def _described(reader: BinaryIO, body: int, size: int) -> tuple[int, int, int] | None:
    """Checksum and sizes from behind a member that was written as a stream."""
    position = body
    while (position := _find(reader, DESCRIPTOR, position, size)) < size:
        reader.seek(position)
        note = reader.read(16)
        if len(note) == 16 and struct.unpack("<L", note[8:12])[0] == position - body:
            checksum, stored, unpacked = struct.unpack("<4x3L", note)
            return checksum, stored, unpacked
        position += 1
    return None


def _find(reader: BinaryIO, mark: bytes, position: int, size: int) -> int:
    """The next place of a mark; `size` where there is none."""
    while position < size:
        reader.seek(position)
        block = reader.read(READ_AHEAD)
        at = block.find(mark)
        if at >= 0:
            return position + at
        if len(block) < len(mark):
            break
        position += len(block) - len(mark) + 1
    return size
