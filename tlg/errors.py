"""Every error that a user can meet. Each message names what was found, what was expected and the way out."""

from __future__ import annotations


class TlgError(Exception):
    """The root: catch this to catch everything the product raises on purpose."""

    exit_code = 1


class SpecError(TlgError):
    """A file the user wrote (job spec, exemplar set, config) does not say what it should."""

    exit_code = 2


class InputError(TlgError):
    """An image, mask or label cannot be used. Batch jobs turn it into a row with status `error`."""

    exit_code = 3

    def __init__(self, message: str, kind: str = "unreadable"):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.kind)


class CheckpointError(TlgError):
    """Model files are missing, foreign or damaged."""

    exit_code = 4


class StorageError(TlgError):
    """A store cannot be reached or refuses us; `transient` says whether trying again can help.

    `kind` is what an image with this error is quarantined as, where the three flags do not say it already.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        transient: bool = False,
        missing: bool = False,
        denied: bool = False,
        kind: str = "",
        retry_after: float = 0.0,
    ):
        super().__init__(message)
        self.transient, self.missing, self.denied = transient, missing, denied
        self.kind = kind or ("vanished" if missing else "access_denied" if denied else "unreachable")
        self.retry_after = retry_after

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.transient, self.missing, self.denied, self.kind, self.retry_after)


class CredentialsError(StorageError):
    """The keys are wrong or have expired: a property of the run, never of the image it met first."""


class EmptyCollectionError(TlgError):
    """A collection lists no image at all: far more often a wrong name than a quiet night."""

    exit_code = 9


class LeaseHeldError(TlgError):
    """Another run is writing to the same output."""

    exit_code = 6


class TooManyErrors(TlgError):
    """A run stopped because more images failed than `run.max_error_rate` allows."""

    exit_code = 7


class ClusterError(TlgError):
    """A Ray cluster, its job API or an endpoint cannot be reached or refuses us."""

    exit_code = 8
