"""S3 and whatever speaks it, through boto3: lists with ETags, conditional puts, one request for one object."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from tlg.errors import StorageError
from tlg.store import bodies
from tlg.store.failures import explained
from tlg.store.places import Access, Entry, path_in_store
from tlg.store.protocol import LeftOut, Store
from tlg.store.ranges import RangeFile
from tlg.store.retry import patiently

CONNECTIONS = 32
BEYOND_THE_END = 416
CONFLICT = 409
IS_THERE = 412


class S3Store(Store):
    def read(self, uri: str, max_bytes: int | None = None) -> bytes:
        with explained(uri):
            answer = self._client.get_object(**_place(uri))
            body = answer["Body"]
            try:
                return bodies.whole(uri, body.iter_chunks(bodies.CHUNK_BYTES), max_bytes, answer["ContentLength"])
            finally:
                body.close()

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        return self._part(uri, start, length)

    def open_input(self, uri: str) -> BinaryIO:
        with explained(uri):
            head = self._client.head_object(**_place(uri))
        seconds = self.access.patience_seconds

        def part(start: int, length: int) -> bytes:
            # Of the version that was opened: half of one and half of another would be neither.
            return patiently(lambda: self._part(uri, start, length, IfMatch=head["ETag"]), seconds)

        return cast(BinaryIO, RangeFile(head["ContentLength"], part))

    def stat(self, uri: str) -> Entry:
        with explained(uri):
            head = self._client.head_object(**_place(uri))
        return Entry(uri, head["ETag"].strip('"'), head["ContentLength"])

    def size(self, uri: str) -> int:
        return self.stat(uri).size

    def exists(self, uri: str) -> bool:
        try:
            self.size(uri)
        except StorageError as error:
            if error.missing:
                return self.is_folder(uri)
            raise
        return True

    def is_folder(self, uri: str) -> bool:
        bucket, prefix = _bucket_and_prefix(uri)
        with explained(uri):
            return "Contents" in self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1, **_payer())

    def entries(self, folder: str, left_out: LeftOut) -> Iterator[tuple[str, Entry]]:
        bucket, prefix = _bucket_and_prefix(folder)
        where: dict[str, str] = {"Bucket": bucket, "Prefix": prefix, **_payer()}

        def page() -> dict[str, Any]:
            with explained(folder):
                return self._client.list_objects_v2(**where)

        while True:
            answer = patiently(page, self.access.patience_seconds)
            for item in answer.get("Contents", ()):
                if not item["Key"].endswith("/"):
                    entry = Entry(f"s3://{bucket}/{item['Key']}", item["ETag"].strip('"'), item["Size"])
                    yield item["Key"][len(prefix) :], entry
            if not answer.get("IsTruncated"):
                return
            where["ContinuationToken"] = answer["NextContinuationToken"]

    def write(self, uri: str, content: bytes) -> None:
        with explained(uri):
            self._client.put_object(**_place(uri), Body=content)

    def upload(self, file: Path, uri: str) -> None:
        place = _place(uri)
        with explained(uri):
            self._client.upload_file(str(file), place["Bucket"], place["Key"], ExtraArgs=_payer())

    def create(self, uri: str, content: bytes) -> bool:
        from botocore.exceptions import ClientError

        with explained(uri):
            try:
                self._client.put_object(**_place(uri), Body=content, IfNoneMatch="*")
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == IS_THERE:
                    return False
                if status == CONFLICT:  # another put of the same key is under way: which of them wins is not known yet
                    raise StorageError(f"{uri}: another writer is at it", transient=True) from None
                raise
            return True

    def delete(self, uri: str) -> None:
        with explained(uri):
            self._client.delete_object(**_place(uri))

    def delete_folder(self, uri: str) -> None:
        for _, entry in list(self.entries(uri, lambda place, reason: None)):
            self.delete(entry.uri)

    def _part(self, uri: str, start: int, length: int, **condition: str) -> bytes:
        from botocore.exceptions import ClientError

        span = f"bytes={start}-{start + length - 1}"
        with explained(uri):
            try:
                answer = self._client.get_object(**_place(uri), Range=span, **condition)
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == BEYOND_THE_END:
                    return b""
                if status == IS_THERE:
                    raise StorageError(f"{uri}: replaced while it was read; run again") from None
                raise
            body = answer["Body"]
            return bodies.whole(uri, body.iter_chunks(bodies.CHUNK_BYTES), expected=answer["ContentLength"])

    @property
    def _client(self) -> Any:
        return s3_client(self.access)


@lru_cache(maxsize=8)
def s3_client(access: Access) -> Any:
    """A client as AWS's own tools would make it, except that it repeats nothing by itself."""
    import boto3
    from botocore.config import Config

    settings = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=bodies.CONNECT_SECONDS,
        read_timeout=bodies.STALL_SECONDS,
        max_pool_connections=CONNECTIONS,
    )
    with explained("s3://"):
        # A session of its own: the default one would keep the first credentials it saw for good.
        session = boto3.session.Session()
        # boto3 knows AWS_DEFAULT_REGION and profiles; AWS_REGION is what the other tools of AWS read.
        region = access.region or os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
        return session.client("s3", endpoint_url=access.endpoint, region_name=region, config=settings)


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = path_in_store(uri).partition("/")
    if not bucket or not key:
        raise StorageError(f"{uri}: names no object; expected s3://bucket/key")
    return {"Bucket": bucket, "Key": key, **_payer()}


def _payer() -> dict[str, str]:
    """Buckets whose requester pays: GDAL's variable, since AWS's tools know only a flag."""
    payer = os.environ.get("AWS_REQUEST_PAYER")
    return {"RequestPayer": payer} if payer else {}


def _bucket_and_prefix(folder: str) -> tuple[str, str]:
    bucket, _, prefix = path_in_store(folder).partition("/")
    if not bucket:
        raise StorageError(f"{folder}: names no bucket; expected s3://bucket/prefix")
    return bucket, prefix.rstrip("/") + "/" if prefix else ""
