"""Weights at a path, or at the URI of any store."""

from __future__ import annotations

from pathlib import Path

from tlg.errors import CheckpointError, StorageError
from tlg.hub.sources.source import WeightFile


class StoreSource:
    def here(self, address: str) -> bool:
        return "://" not in address and Path(address).is_file()

    def read(self, address: str) -> WeightFile:
        from tlg import store  # a listing of models does without the stores' clients

        try:
            return WeightFile(address.rsplit("/", 1)[-1], store.read(address))
        except StorageError as error:
            raise CheckpointError(f"the weights cannot be read: {error}") from error

    def licence(self, address: str) -> str | None:
        return None
