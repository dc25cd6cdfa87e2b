"""Tar: headers before members, one after the other. Its index is made by walking from header to header.

Only headers are looked at, so that memory does not grow; what they claim is checked before anything is read by it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from tlg.store.archives.members import Member, Place, broken, damaged

BLOCK = 512
REGULAR = (b"0", b"\0", b"7")
LONG_NAME, PAX, PAX_GLOBAL = b"L", b"x", b"g"
# Of a member's name and other notes in extended headers.
LONGEST_NOTE = 1 << 20
READ_AHEAD = 1 << 18

ReadRange = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Header:
    name: str
    size: int
    kind: bytes


def members(file: io.RawIOBase, size: int) -> Iterator[Member]:
    """Every regular file. Behind damage the next sound header is looked for, so that nothing else is lost."""
    reader = cast(BinaryIO, io.BufferedReader(file, READ_AHEAD))
    position, name, note_size = 0, "", None
    while position < size:
        reader.seek(position)
        block = reader.read(BLOCK)
        if not block.strip(b"\0") and len(block) == BLOCK:
            return  # the end marker
        header = _header(block)
        if header is None:
            sound = _next_header(reader, position + BLOCK, size)
            where = f"up to byte {sound:,}" if sound < size else "up to its end"
            yield broken(f"damaged from byte {position:,} {where}; the members before and behind are read")
            position, name, note_size = sound, "", None
            continue
        start = position + BLOCK
        position = start + -(-header.size // BLOCK) * BLOCK
        if header.kind == PAX_GLOBAL:
            continue
        if header.kind in (LONG_NAME, PAX):
            note = reader.read(header.size) if header.size <= LONGEST_NOTE else b""
            if header.kind == LONG_NAME:
                name = _text(note)
            else:
                name, note_size = _pax(note, name)
            continue
        name = name or header.name
        if header.kind in REGULAR and not name.endswith("/"):
            length = header.size if note_size is None else note_size
            position = start + -(-length // BLOCK) * BLOCK
            yield Member(name, Place("tar", start, max(0, min(length, size - start)), length))
        name, note_size = "", None
    yield broken(f"ends at byte {size:,} without the mark of a tar's end: it was cut off; the members before are read")


def read(uri: str, place: Place, read_range: ReadRange) -> bytes:
    """One range: the member's header, which must be the one that was listed, and its bytes."""
    content = read_range(place.start - BLOCK, BLOCK + place.stored)
    header = _header(content[:BLOCK])
    if header is None or header.kind not in REGULAR:
        raise damaged(uri, "its header in the archive is damaged")
    if len(content) < BLOCK + place.size:
        raise damaged(uri, f"cut off with its archive after {len(content) - BLOCK:,} of {place.size:,} bytes")
    return content[BLOCK:]


def _header(block: bytes) -> Header | None:
    """None where this is no header."""
    if len(block) < BLOCK:
        return None
    written = _number(block[148:156])
    if written is None or written != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
        return None
    size = _number(block[124:136])
    if size is None:
        return None
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345:500].strip(b"\0"):
        name = f"{_text(block[345:500])}/{name}"
    return Header(name, size, block[156:157])


def _number(field: bytes) -> int | None:
    """Octal digits, or base 256 where they would not fit."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else None
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _pax(note: bytes, name: str) -> tuple[str, int | None]:
    """The name and size that an extended header gives to the member that follows."""
    size = None
    while note:
        length, _, rest = note.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(note):
            break
        key, _, value = rest[: int(length) - len(length) - 1].rstrip(b"\n").partition(b"=")
        if key == b"path":
            name = _text(value)
        elif key == b"size" and value.isdigit():
            size = int(value)
        note = note[int(length) :]
    return name, size


def _next_header(reader: BinaryIO, position: int, size: int) -> int:
    while position < size:
        reader.seek(position)
        block = reader.read(BLOCK)
        if block[257:262] == b"ustar" and _header(block) is not None:
            return position
        position += BLOCK
    return size
