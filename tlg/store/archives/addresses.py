"""`s3://bucket/a.tar#dir/1.jpg`: the archive's address, `#`, and the member's name as the archive writes it.

An address is a member's where what stands before some `#` ends like an archive; the first such `#` parts it. A member
of a Parquet file is called `COLUMN/ROW`, rows counted from 0 over the whole file.
"""

from __future__ import annotations

import re

ENDINGS = (".zip", ".tar", ".parquet")
_ENDS = r"\.(?:zip|tar|parquet)"
_MEMBER = re.compile(rf"(.+?{_ENDS})#(.+)", re.IGNORECASE | re.DOTALL)
# A glob that ends in the name of an archive: `*.tar`, `*.{zip,tar}`, `train-*.parquet`.
_GLOB = re.compile(rf".*(?:{_ENDS}|\.\{{[^{{}}/]*\b(?:zip|tar|parquet)\b[^{{}}/]*\}})", re.IGNORECASE | re.DOTALL)


def is_archive(uri: str) -> bool:
    return uri.lower().endswith(ENDINGS)


def parted(uri: str) -> tuple[str, str] | None:
    """Archive and member; None for an address that is no member's."""
    match = _MEMBER.fullmatch(uri)
    return (match[1], match[2]) if match else None


def member_address(archive: str, name: str) -> str:
    return f"{archive}#{name}"


def names_archives(pattern: str) -> bool:
    """Whether a glob asks for archives rather than happens to match them, as `**/*` does."""
    return _GLOB.fullmatch(pattern) is not None
