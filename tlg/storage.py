"""One way to open, list and commit: local folders, s3://, gs://, az://, http(s)://.

Bytes travel through pyarrow's own filesystems; boto3 lists S3 with ETags and makes the conditional puts
that pyarrow does not know. Credentials come from the environment, as each provider's tools define it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import posixpath
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pyarrow.fs as arrow_fs

from tlg.errors import StorageError

MISSING = "does not exist"


@dataclass(frozen=True)
class Access:
    """Where the stores are; None takes the provider's default."""

    endpoint: str | None = None
    region: str | None = None


DEFAULT_ACCESS = Access()


@dataclass(frozen=True)
class Entry:
    """One stored object; `etag` changes whenever the content does."""

    uri: str
    etag: str
    size: int


def scheme(uri: str) -> str:
    return uri.split("://", 1)[0] if "://" in uri else "file"


def join(folder: str, value: str) -> str:
    """`value` as seen from `folder`; absolute paths and URIs stay as they are."""
    if "://" in value or value.startswith("/"):
        return value
    if scheme(folder) == "file":
        return os.path.abspath(os.path.join(folder.removeprefix("file://"), value))
    head, _, path = folder.partition("://")
    return f"{head}://{posixpath.normpath(posixpath.join(path, value))}"


def parent(uri: str) -> str:
    if scheme(uri) == "file":
        return os.path.dirname(os.path.abspath(uri.removeprefix("file://")))
    return uri.rsplit("/", 1)[0]


@lru_cache(maxsize=32)
def filesystem(uri_scheme: str, access: Access = DEFAULT_ACCESS) -> arrow_fs.FileSystem:
    """The pyarrow filesystem behind a scheme; also what Ray Data reads and writes through."""
    if uri_scheme == "file":
        return arrow_fs.LocalFileSystem()
    if uri_scheme == "s3":
        endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL")
        options: dict[str, Any] = {"region": access.region or os.environ.get("AWS_REGION", "us-east-1")}
        if endpoint:
            plain = endpoint.startswith("http://")
            options |= {
                "endpoint_override": re.sub(r"^https?://", "", endpoint),
                "scheme": "http" if plain else "https",
            }
        return arrow_fs.S3FileSystem(**options)
    if uri_scheme == "gs":
        return arrow_fs.GcsFileSystem()
    if uri_scheme == "az":
        account = os.environ.get("AZURE_STORAGE_ACCOUNT")
        if not account:
            raise StorageError("az:// needs the storage account's name in AZURE_STORAGE_ACCOUNT")
        return arrow_fs.AzureFileSystem(account_name=account, account_key=os.environ.get("AZURE_STORAGE_KEY"))
    raise StorageError(f"{uri_scheme}://: unknown store; expected a path, s3://, gs://, az:// or http(s)://")


def path_in_store(uri: str) -> str:
    """What pyarrow calls the place: `bucket/key` or a local path."""
    return os.path.abspath(uri.removeprefix("file://")) if scheme(uri) == "file" else uri.split("://", 1)[1]


def read(uri: str, access: Access = DEFAULT_ACCESS) -> bytes:
    if scheme(uri) in ("http", "https"):
        return _read_http(uri)
    with _Explained(uri), filesystem(scheme(uri), access).open_input_file(path_in_store(uri)) as stream:
        return stream.read()


def read_text(uri: str, access: Access = DEFAULT_ACCESS) -> str:
    try:
        return read(uri, access).decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{uri}: not UTF-8 text: {error}") from None


def exists(uri: str, access: Access = DEFAULT_ACCESS) -> bool:
    with _Explained(uri):
        return filesystem(scheme(uri), access).get_file_info(path_in_store(uri)).type != arrow_fs.FileType.NotFound


def is_folder(uri: str, access: Access = DEFAULT_ACCESS) -> bool:
    if scheme(uri) in ("http", "https"):
        return False
    with _Explained(uri):
        return filesystem(scheme(uri), access).get_file_info(path_in_store(uri)).type == arrow_fs.FileType.Directory


def write(uri: str, content: bytes, access: Access = DEFAULT_ACCESS) -> None:
    """Replace the object as a whole: readers see the old content or the new, never a part."""
    with _Explained(uri):
        if scheme(uri) == "file":
            path = Path(path_in_store(uri))
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            aside.write_bytes(content)
            aside.replace(path)
            return
        with filesystem(scheme(uri), access).open_output_stream(path_in_store(uri)) as stream:
            stream.write(content)


def create(uri: str, content: bytes, access: Access = DEFAULT_ACCESS) -> bool:
    """Write only if nothing is there; False if something is. Atomic on local disks and S3."""
    with _Explained(uri):
        if scheme(uri) == "file":
            path = Path(path_in_store(uri))
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            aside.write_bytes(content)
            try:
                os.link(aside, path)
            except FileExistsError:
                return False
            finally:
                aside.unlink()
            return True
        if scheme(uri) == "s3":
            from botocore.exceptions import ClientError

            bucket, _, key = path_in_store(uri).partition("/")
            try:
                s3_client(access).put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                    return False
                raise
            return True
    if exists(uri, access):
        return False
    write(uri, content, access)
    return True


def delete(uri: str, access: Access = DEFAULT_ACCESS) -> None:
    with _Explained(uri):
        filesystem(scheme(uri), access).delete_file(path_in_store(uri))


def entries(folder: str, pattern: str = "**/*", access: Access = DEFAULT_ACCESS) -> Iterator[Entry]:
    """Everything below `folder` that matches, streamed in the store's order."""
    matches = re.compile(glob_to_regex(pattern)).fullmatch
    with _Explained(folder):
        if scheme(folder) == "s3":
            yield from _s3_entries(folder, matches, access)
        elif scheme(folder) == "file":
            yield from _local_entries(Path(path_in_store(folder)), matches)
        else:
            yield from _arrow_entries(folder, matches, access)


def glob_to_regex(pattern: str) -> str:
    """`**/` spans folders (none included), `*` and `?` stay inside one; braces give alternatives."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\{[^}]*\})", pattern)
    regex = ""
    for part in parts:
        if part == "**/":
            regex += "(?:.*/)?"
        elif part == "**":
            regex += ".*"
        elif part == "*":
            regex += "[^/]*"
        elif part == "?":
            regex += "[^/]"
        elif part.startswith("{") and part.endswith("}"):
            regex += "(?:" + "|".join(fnmatch.translate(one)[4:-3] for one in part[1:-1].split(",")) + ")"
        else:
            regex += re.escape(part)
    return regex


@lru_cache(maxsize=8)
def s3_client(access: Access = DEFAULT_ACCESS) -> Any:
    import boto3
    from botocore.config import Config

    settings = Config(retries={"mode": "adaptive", "max_attempts": 6}, s3={"addressing_style": "path"})
    endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL")
    region = access.region or os.environ.get("AWS_REGION", "us-east-1")
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, config=settings)


def _s3_entries(folder: str, matches: Any, access: Access) -> Iterator[Entry]:
    bucket, _, prefix = path_in_store(folder).partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    for page in s3_client(access).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            if matches(item["Key"][len(prefix) :]):
                yield Entry(f"s3://{bucket}/{item['Key']}", item["ETag"].strip('"'), item["Size"])


def _local_entries(folder: Path, matches: Any) -> Iterator[Entry]:
    if not folder.exists():
        raise FileNotFoundError(folder)
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(root, name)
            if matches(os.path.relpath(path, folder).replace(os.sep, "/")):
                state = os.stat(path)
                yield Entry(path, f"{state.st_mtime_ns:x}-{state.st_size:x}", state.st_size)


def _arrow_entries(folder: str, matches: Any, access: Access) -> Iterator[Entry]:
    base = path_in_store(folder).rstrip("/")
    for info in filesystem(scheme(folder), access).get_file_info(arrow_fs.FileSelector(base, recursive=True)):
        if info.is_file and matches(info.path[len(base) + 1 :]):
            stamp = hashlib.blake2b(f"{info.mtime_ns}-{info.size}".encode(), digest_size=8).hexdigest()
            yield Entry(f"{scheme(folder)}://{info.path}", stamp, info.size)


def _read_http(uri: str) -> bytes:
    try:
        answer = httpx.get(uri, timeout=30, follow_redirects=True)
    except httpx.TransportError as error:
        raise StorageError(f"{uri}: {error}", transient=True) from None
    if answer.status_code != 200:
        transient = answer.status_code in (408, 425, 429) or answer.status_code >= 500
        raise StorageError(f"{uri}: the server answered {answer.status_code}", transient=transient)
    return answer.content


class _Explained:
    """Turns what the libraries raise into one StorageError that names the place and the way out."""

    def __init__(self, uri: str):
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        if error is None or not isinstance(error, (OSError, ClientError, BotoCoreError)):
            return
        text = " ".join(str(error).split())
        if isinstance(error, FileNotFoundError) or "NoSuchKey" in text or "NoSuchBucket" in text or "404" in text:
            raise StorageError(f"{self.uri}: {MISSING}; check the name and the bucket") from None
        if re.search(r"ACCESS_DENIED|AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId|Forbidden|403", text):
            raise StorageError(
                f"{self.uri}: the store refuses access; check the credentials in the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or your provider's) and their rights"
            ) from None
        if isinstance(error, (PermissionError, IsADirectoryError, NotADirectoryError)):
            raise StorageError(f"{self.uri}: {error.strerror or text}; check the path and its rights") from None
        raise StorageError(f"{self.uri}: {text}", transient=True) from None
