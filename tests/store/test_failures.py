"""What a library raises is judged by codes and types; the address in its text says nothing."""

import errno
import os
import socket
import ssl

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
)

from tlg import store
from tlg.errors import CredentialsError, StorageError
from tlg.store import failures

ODD_ADDRESSES = [
    "s3://b/img-404.jpg",
    "s3://b/403/x.jpg",
    "s3://b/AccessDenied/Forbidden.jpg",
    "s3://b/ExpiredToken.png",
]


def client_error(code, status):
    answer = {"Error": {"Code": code, "Message": "404 Not Found 403"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


@pytest.mark.parametrize("uri", ODD_ADDRESSES)
def test_an_outage_is_transient_whatever_the_key_is_called(uri):
    for error in (
        EndpointConnectionError(endpoint_url=uri),
        ConnectTimeoutError(endpoint_url=uri),
        IncompleteReadError(actual_bytes=404, expected_bytes=403),
        OSError(errno.EIO, os.strerror(errno.EIO), uri),
        client_error("SlowDown", 503),
        client_error("InternalError", 500),
    ):
        found = failures.explain(uri, error)
        assert (found.transient, found.missing, found.denied) == (True, False, False), error


def test_a_dead_endpoint_is_an_outage_for_a_key_called_404(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    access = store.Access("http://127.0.0.1:1", patience_seconds=0)
    with pytest.raises(StorageError) as caught:
        store.read("s3://bucket/404/img-403.jpg", access)
    assert (caught.value.transient, caught.value.missing, caught.value.denied) == (True, False, False)
    with pytest.raises(StorageError):
        store.listed("s3://bucket/404/out", "*", access)


@pytest.mark.parametrize(("code", "status"), [("NoSuchKey", 404), ("NoSuchBucket", 404), ("404", 404)])
def test_what_is_not_there_is_missing(code, status):
    assert failures.explain("s3://b/a.jpg", client_error(code, status)).missing


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "RequestTimeTooSkewed"]
)
def test_keys_that_are_wrong_or_expired_are_told_apart_from_rights(code):
    found = failures.explain("s3://b/a.jpg", client_error(code, 400))
    assert isinstance(found, CredentialsError)
    assert code in str(found)
    plain = failures.explain("s3://b/a.jpg", client_error("AccessDenied", 403))
    assert plain.denied
    assert not isinstance(plain, CredentialsError)
    assert isinstance(failures.explain("s3://b/a.jpg", NoCredentialsError()), CredentialsError)


@pytest.mark.parametrize(
    ("number", "kind", "transient"),
    [
        (errno.ENOENT, "vanished", False),
        (errno.ENOTDIR, "vanished", False),
        (errno.EACCES, "access_denied", False),
        (errno.ELOOP, "not_a_file", False),
        (errno.ENAMETOOLONG, "not_a_file", False),
        (errno.ENXIO, "not_a_file", False),
        (errno.ENOSPC, "unreachable", False),
        (errno.ESTALE, "unreachable", True),
        (errno.ECONNRESET, "unreachable", True),
    ],
)
def test_the_systems_errors_go_by_their_number(number, kind, transient):
    found = failures.explain("/data/404.jpg", OSError(number, os.strerror(number)))
    assert (found.kind, found.transient) == (kind, transient)


class ByStatus(Exception):
    def __init__(self, status):
        super().__init__("404 in the text")
        self.status = status


@pytest.mark.parametrize(
    ("status", "missing", "denied", "transient"),
    [(404, True, False, False), (403, False, True, False), (429, False, False, True), (503, False, False, True)],
)
def test_other_libraries_go_by_their_http_status(status, missing, denied, transient):
    found = failures.explain("gs://b/a", ByStatus(status))
    assert (found.missing, found.denied, found.transient) == (missing, denied, transient)


def test_a_defect_stays_a_defect():
    assert failures.explain("s3://b/a", KeyError("404")) is None
    assert failures.explain("s3://b/a", TypeError("403")) is None


def test_certificates_and_unknown_hosts_are_certain_resolvers_that_fail_are_not():
    from tlg.store.web import _is_certain

    assert _is_certain(ssl.SSLCertVerificationError())
    assert _is_certain(socket.gaierror(socket.EAI_NONAME, "unknown"))
    assert not _is_certain(socket.gaierror(socket.EAI_AGAIN, "try again"))
    assert not _is_certain(ConnectionRefusedError())
