"""One way to open, list and commit: local folders, s3://, gs://, az://, http(s)://.

S3 is spoken through boto3, which lists with ETags, makes conditional puts and notices bodies that break off;
the other stores through pyarrow's own filesystems. Credentials come from the
environment, as each provider's tools define it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx
import pyarrow.fs as arrow_fs

from tlg.errors import StorageError
from tlg.store.ranges import RangeFile

MISSING = "does not exist"
MISSING_TEXT = re.compile(r"NoSuchKey|NoSuchBucket|Not Found|HTTP status 404|\b404\b")
DENIED_TEXT = re.compile(
    r"ACCESS_DENIED|AccessDenied|Access Denied|SignatureDoesNotMatch|InvalidAccessKeyId|InvalidToken|ExpiredToken"
    r"|Forbidden|NoCredentials|Unable to locate credentials|HTTP status 40[13]|\b403\b"
)
HTTP_TIMEOUT_SECONDS = 30
CONNECT_SECONDS = 5
# A transfer that makes no progress for so long counts as failed, and is tried again.
STALL_SECONDS = 10
S3_BODY_ATTEMPTS = 4
S3_CONNECTIONS = 32


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
        options: dict[str, Any] = {
            "region": access.region or os.environ.get("AWS_REGION", "us-east-1"),
            "connect_timeout": CONNECT_SECONDS,
            "request_timeout": STALL_SECONDS,
        }
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
    with _Explained(uri):
        if scheme(uri) == "file":
            with open(path_in_store(uri), "rb") as file:
                return file.read()
        if scheme(uri) == "s3":
            return _read_s3(uri, access)
        with filesystem(scheme(uri), access).open_input_file(path_in_store(uri)) as stream:
            expected, content = stream.size(), stream.read()
        if len(content) != expected:
            raise StorageError(f"{uri}: received {len(content)} of {expected} bytes", transient=True)
        return content


def read_range(uri: str, start: int, length: int, access: Access = DEFAULT_ACCESS) -> bytes:
    """The bytes at `start` to `start + length`; fewer, or none, where the object ends before."""
    if length == 0:
        return b""
    with _Explained(uri):
        if scheme(uri) == "s3":
            return _read_s3(uri, access, (start, length))
        with open_input(uri, access) as file:
            file.seek(start)
            return file.read(length)


def open_input(uri: str, access: Access = DEFAULT_ACCESS) -> BinaryIO:
    """A seekable file that reads only the ranges it is asked for, as pyarrow.parquet does."""
    with _Explained(uri):
        if scheme(uri) == "file":
            return open(path_in_store(uri), "rb")
        if scheme(uri) in ("http", "https"):
            return io.BytesIO(_read_http(uri))
        if scheme(uri) == "s3":
            bucket, _, key = path_in_store(uri).partition("/")
            size = s3_client(access).head_object(Bucket=bucket, Key=key)["ContentLength"]
            return cast(BinaryIO, RangeFile(size, lambda start, length: read_range(uri, start, length, access)))
        return cast(BinaryIO, filesystem(scheme(uri), access).open_input_file(path_in_store(uri)))


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
            _write_aside(path, content).replace(path)
            return
        if scheme(uri) == "s3":
            bucket, _, key = path_in_store(uri).partition("/")
            s3_client(access).put_object(Bucket=bucket, Key=key, Body=content)
            return
        with filesystem(scheme(uri), access).open_output_stream(path_in_store(uri)) as stream:
            stream.write(content)


def upload(file: Path, uri: str, access: Access = DEFAULT_ACCESS) -> None:
    """A local file of any size, stored as a whole like `write`."""
    with _Explained(uri):
        if scheme(uri) == "file":
            path = Path(path_in_store(uri))
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            shutil.copyfile(file, aside)
            aside.replace(path)
            return
        arrow_fs.copy_files(
            str(file),
            path_in_store(uri),
            source_filesystem=arrow_fs.LocalFileSystem(),
            destination_filesystem=filesystem(scheme(uri), access),
        )


def create(uri: str, content: bytes, access: Access = DEFAULT_ACCESS) -> bool:
    """Write only if nothing is there; False if something is. Atomic on local disks and S3."""
    with _Explained(uri):
        if scheme(uri) == "file":
            path = Path(path_in_store(uri))
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = _write_aside(path, content)
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
        if scheme(uri) == "s3":  # pyarrow would leave an empty object in the folder's place
            bucket, _, key = path_in_store(uri).partition("/")
            s3_client(access).delete_object(Bucket=bucket, Key=key)
            return
        filesystem(scheme(uri), access).delete_file(path_in_store(uri))


def delete_folder(uri: str, access: Access = DEFAULT_ACCESS) -> None:
    """Remove everything below `uri`; nothing there is no error."""
    with _Explained(uri):
        if scheme(uri) == "file":
            shutil.rmtree(path_in_store(uri), ignore_errors=True)
            return
        for entry in listed(uri, "**", access):
            delete(entry.uri, access)


def listed(folder: str, pattern: str, access: Access = DEFAULT_ACCESS) -> list[Entry]:
    """`entries` sorted by name, for the product's own small folders; a folder that is not there is empty."""
    try:
        return sorted(entries(folder, pattern, access), key=lambda entry: entry.uri)
    except StorageError as error:
        if error.missing:
            return []
        raise


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


def _write_aside(path: Path, content: bytes) -> Path:
    """A complete, flushed file beside `path`, hidden from globs."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with open(aside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return aside


@lru_cache(maxsize=8)
def s3_client(access: Access = DEFAULT_ACCESS) -> Any:
    import boto3
    from botocore.config import Config

    settings = Config(
        retries={"mode": "standard", "max_attempts": 8},
        s3={"addressing_style": "path"},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=STALL_SECONDS,
        max_pool_connections=S3_CONNECTIONS,
    )
    endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL")
    region = access.region or os.environ.get("AWS_REGION", "us-east-1")
    # A session of its own: the default one would keep the first credentials it saw for good.
    return boto3.session.Session().client("s3", endpoint_url=endpoint, region_name=region, config=settings)


def _read_s3(uri: str, access: Access, span: tuple[int, int] | None = None) -> bytes:
    """An object, or `length` bytes from `start`, in one request.

    pyarrow, after a body that broke off, has given back a garbled buffer.
    """
    from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

    bucket, _, key = path_in_store(uri).partition("/")
    part = {"Range": f"bytes={span[0]}-{span[0] + span[1] - 1}"} if span else {}
    for attempt in range(S3_BODY_ATTEMPTS):
        try:
            return s3_client(access).get_object(Bucket=bucket, Key=key, **part)["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 416:  # begins behind the object's end
                return b""
            raise
        except (HTTPClientError, IncompleteReadError):  # botocore itself repeats only what fails before the body
            if attempt == S3_BODY_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _s3_entries(folder: str, matches: Any, access: Access) -> Iterator[Entry]:
    bucket, _, prefix = path_in_store(folder).partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    for page in s3_client(access).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/") and matches(item["Key"][len(prefix) :]):
                yield Entry(f"s3://{bucket}/{item['Key']}", item["ETag"].strip('"'), item["Size"])


def _local_entries(folder: Path, matches: Any) -> Iterator[Entry]:
    if not folder.exists():
        raise FileNotFoundError(folder)
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(root, name)
            if matches(os.path.relpath(path, folder).replace(os.sep, "/")):
                # A link to nowhere is an entry too: reading it will say what is wrong.
                yield local_state(path) or Entry(path, "", 0)


def local_state(path: str) -> Entry | None:
    """A local file as an entry; None where there is none. Its etag follows its time of change and its size."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return Entry(path, f"{state.st_mtime_ns:x}-{state.st_size:x}", state.st_size)


def _arrow_entries(folder: str, matches: Any, access: Access) -> Iterator[Entry]:
    base = path_in_store(folder).rstrip("/")
    for info in filesystem(scheme(folder), access).get_file_info(arrow_fs.FileSelector(base, recursive=True)):
        if info.is_file and matches(info.path[len(base) + 1 :]):
            stamp = hashlib.blake2b(f"{info.mtime_ns}-{info.size}".encode(), digest_size=8).hexdigest()
            yield Entry(f"{scheme(folder)}://{info.path}", stamp, info.size)


@lru_cache(maxsize=1)
def _http_client() -> httpx.Client:
    """One for the process: making one costs more than most downloads, and connections are kept."""
    return httpx.Client(timeout=HTTP_TIMEOUT_SECONDS, follow_redirects=True)


def _read_http(uri: str) -> bytes:
    try:
        answer = _http_client().get(uri)
    except httpx.InvalidURL as error:
        raise StorageError(f"{uri}: not a usable address: {error}") from None
    except httpx.TransportError as error:
        raise StorageError(f"{uri}: {error or type(error).__name__}", transient=True) from None
    status = answer.status_code
    if status in (404, 410):
        raise StorageError(f"{uri}: {MISSING} (status {status})", missing=True)
    if status in (401, 403):
        raise StorageError(f"{uri}: the server refuses access (status {status})", denied=True)
    if status != 200:
        transient = status in (408, 425, 429) or status >= 500
        raise StorageError(f"{uri}: the server answered {status}", transient=transient)
    return answer.content


class _Explained:
    """Turns what the libraries raise into one StorageError that names the place and the way out."""

    def __init__(self, uri: str):
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, StorageError) or not _comes_from_a_store(error):
            return
        text = " ".join(str(error).split())
        if isinstance(error, FileNotFoundError) or MISSING_TEXT.search(text):
            raise StorageError(f"{self.uri}: {MISSING}; check the name and the bucket", missing=True) from None
        if DENIED_TEXT.search(text):
            raise StorageError(
                f"{self.uri}: the store refuses access; check the credentials in the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or your provider's) and their rights",
                denied=True,
            ) from None
        if isinstance(error, (PermissionError, IsADirectoryError, NotADirectoryError)):
            reason = error.strerror or text
            raise StorageError(f"{self.uri}: {reason}; check the path and its rights", denied=True) from None
        raise StorageError(f"{self.uri}: {text}", transient=True) from None


def _comes_from_a_store(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return True
    # botocore takes a while to import; where it raised, it is there already.
    return type(error).__module__.split(".")[0] in ("botocore", "boto3")


def local_path(value: str) -> Path | None:
    """The path behind a local reference, None for a URI of another store."""
    if value.startswith("file://"):
        return Path(value.removeprefix("file://"))
    return None if "://" in value else Path(value)
