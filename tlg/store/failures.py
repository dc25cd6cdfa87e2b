"""A library's exception -> one StorageError, by status code, error code, errno or type; never by what its text says.

Texts contain addresses, and an address may contain anything: `img-404.jpg` is no missing object.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any

from tlg.errors import CredentialsError, StorageError, TlgError
from tlg.store.places import scheme

CREDENTIAL_CODES = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
    # Azure
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
}
MISSING_CODES = {"NoSuchKey", "NoSuchBucket", "NotFound", "404"}
TRANSIENT_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
# By name, so that no library is imported only to ask whether it raised.
CREDENTIAL_TYPES = {
    "azure.core.exceptions.ClientAuthenticationError",
    "botocore.exceptions.CredentialRetrievalError",
    "botocore.exceptions.NoAuthTokenError",
    "botocore.exceptions.NoCredentialsError",
    "botocore.exceptions.PartialCredentialsError",
    "botocore.exceptions.ProfileNotFound",
    "botocore.exceptions.SSOError",
    "botocore.exceptions.TokenRetrievalError",
    "google.auth.exceptions.DefaultCredentialsError",
    "google.auth.exceptions.RefreshError",
    "paramiko.ssh_exception.AuthenticationException",
}
TRANSIENT_TYPES = {
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
    "aiohttp.client_exceptions.ServerTimeoutError",
    "azure.core.exceptions.IncompleteReadError",
    "azure.core.exceptions.ServiceRequestError",
    "azure.core.exceptions.ServiceResponseError",
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.HTTPClientError",
    "botocore.exceptions.IncompleteReadError",
    "botocore.exceptions.ResponseStreamingError",
    "google.auth.exceptions.TransportError",
    "httpx.TransportError",
    "paramiko.ssh_exception.SSHException",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "urllib3.exceptions.HTTPError",
}
# What Python raises for a mistake of ours is not for the user.
DEFECTS = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError, ValueError)
MISSING_ERRNOS = {errno.ENOENT, errno.ENOTDIR}
DENIED_ERRNOS = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.EROFS}
NO_FILE_ERRNOS = {errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV}
FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turns what the libraries raise into one StorageError that names the place and the way out."""
    try:
        yield
    except Exception as error:
        failure = explain(uri, error)
        if failure is None:
            raise
        raise failure from None


def explain(uri: str, error: BaseException) -> StorageError | None:
    """None where the error is none of a store's: ours already, or a defect."""
    if isinstance(error, TlgError):
        return None
    types = {f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__}
    text = " ".join(str(error).split()) or type(error).__name__
    if "boto3.exceptions.Boto3Error" in types and error.__context__ is not None:
        return explain(uri, error.__context__)  # it only wraps what the transfer raised
    code = _code(error)
    if code in CREDENTIAL_CODES or types & CREDENTIAL_TYPES:
        return CredentialsError(f"{_no_access(uri)} ({code or text})", denied=True)
    if code in MISSING_CODES:
        return missing(uri)
    if code in TRANSIENT_CODES or types & TRANSIENT_TYPES:
        return StorageError(f"{uri}: {text}", transient=True)
    status = _status(error)
    if status is not None:
        return of_status(uri, status, text)
    if isinstance(error, OSError):
        return _of_system(uri, error, text)
    if isinstance(error, DEFECTS) and type(error).__module__ == "builtins":
        return None
    if isinstance(error, (MemoryError, RecursionError)):
        return None
    return StorageError(f"{uri}: {text}")


def of_status(uri: str, status: int, text: str) -> StorageError:
    if status in (404, 410):
        return missing(uri)
    if status == 401:
        return CredentialsError(f"{_no_access(uri)} (status 401)", denied=True)
    if status == 403:
        return StorageError(f"{_no_access(uri)} (status 403)", denied=True)
    return StorageError(f"{uri}: {text}", transient=status_may_pass(status))


def status_may_pass(status: int) -> bool:
    return status in (408, 425, 429) or status >= 500


def missing(uri: str) -> StorageError:
    place = "the path" if scheme(uri) == "file" else "the name and the bucket"
    return StorageError(f"{uri}: does not exist; check {place}", missing=True)


def not_a_file(uri: str, reason: str) -> StorageError:
    return StorageError(f"{uri}: {reason}; expected a regular file", kind="not_a_file")


def _no_access(uri: str) -> str:
    return (
        f"{uri}: the store refuses access; check the credentials in the environment "
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or your provider's) and their rights"
    )


def _of_system(uri: str, error: OSError, text: str) -> StorageError:
    reason = error.strerror or text
    if isinstance(error, FileNotFoundError) or error.errno in MISSING_ERRNOS:
        return missing(uri)
    if isinstance(error, (PermissionError, IsADirectoryError)) or error.errno in DENIED_ERRNOS:
        return StorageError(f"{uri}: {reason}; check the path and its rights", denied=True)
    if error.errno in NO_FILE_ERRNOS:
        return not_a_file(uri, reason)
    if error.errno in FULL_ERRNOS:
        return StorageError(f"{uri}: {reason}; make room there")
    return StorageError(f"{uri}: {reason}", transient=True)


def _code(error: BaseException) -> str | None:
    """A provider's own word for what happened."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "")) or None
    code: Any = getattr(error, "error_code", None)
    return None if code is None else str(getattr(code, "value", code))


def _status(error: BaseException) -> int | None:
    """The HTTP status, wherever the library keeps it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for holder, name in ((response, "status_code"), (error, "status_code"), (error, "status"), (error, "code")):
        value = getattr(holder, name, None)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None
