"""SHA-256 of files: as it is told, and as `model.json` binds the files of a folder to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tlg.errors import CheckpointError, StorageError
from tlg.hub.model_file import MODEL_FILE


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_line(content: bytes, what: str) -> str:
    """As `sha256sum --check` reads it."""
    return f"{sha256(content)}  {what}"


def verified_bytes(folder: str | Path, file: str, digest: str) -> bytes:
    """A file of a model folder, where its digest is the one that `model.json` says."""
    from tlg import store  # a listing of models does without the stores' clients

    place = store.join(str(folder), file)
    try:
        data = store.read(place)
    except StorageError as error:
        raise CheckpointError(f"{folder} is not whole: {error}") from error
    actual = sha256(data)
    if actual != digest:
        raise CheckpointError(
            f"{place} is damaged or not the file it was: its SHA-256 is {actual[:16]}..., {MODEL_FILE} says"
            f" {digest[:16]}...; copy or export the model again"
        )
    return data
