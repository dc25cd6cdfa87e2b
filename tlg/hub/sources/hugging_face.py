"""`hf://org/repo[@revision]/file`: weights of a Hugging Face hub.

What is in the local cache is taken without asking the hub. `HF_HOME`, `HF_ENDPOINT` (a mirror), `HF_TOKEN` and
`HF_HUB_OFFLINE` mean what they mean everywhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tlg.errors import CheckpointError
from tlg.hub.sources.source import WeightFile

PREFIX = "hf://"


@dataclass(frozen=True)
class HubAddress:
    repository: str
    revision: str | None
    file: str


class HuggingFaceSource:
    def here(self, address: str) -> bool:
        return cached_file(parsed(address)) is not None

    def read(self, address: str) -> WeightFile:
        place = parsed(address)
        file = cached_file(place) or downloaded_file(place, address)
        return WeightFile(place.file.rsplit("/", 1)[-1], file.read_bytes())

    def licence(self, address: str) -> str | None:
        return None


def parsed(address: str) -> HubAddress:
    parts = address.removeprefix(PREFIX).split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise CheckpointError(
            f"{address} names no file: expected {PREFIX}org/repo/file or {PREFIX}org/repo@revision/file"
        )
    repository, _, revision = parts[1].partition("@")
    return HubAddress(f"{parts[0]}/{repository}", revision or None, parts[2])


def cached_file(place: HubAddress) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(place.repository, place.file, revision=place.revision)
    return Path(file) if isinstance(file, str) else None


def downloaded_file(place: HubAddress, address: str) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if constants.is_offline_mode():
        raise CheckpointError(
            f"{address} is not in the local cache ({constants.HF_HUB_CACHE}) and HF_HUB_OFFLINE forbids the download;"
            f" {way_out(address)}"
        )
    try:
        return Path(hf_hub_download(place.repository, place.file, revision=place.revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
        said = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{address} could not be fetched from {endpoint} ({said}); {way_out(address)}") from error


def way_out(address: str) -> str:
    return (
        "fetch it on a machine with a connection (`tlg models fetch NAME --to DIR`) and use the folder, or give the"
        f" path of {address.rsplit('/', 1)[-1]} instead"
    )
