"""What whoever runs the endpoint writes: a YAML file, or key=value arguments of `serve run`."""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tlg import store as storage
from tlg.documents import Document, apply_overrides, parse, read_text
from tlg.spec import DEFAULT_MODEL, StorageSpec
from tlg.store import Access

# Somebody waits for the answer: a store that fails for longer is a problem, not something to wait for.
STORE_PATIENCE_SECONDS = 10.0


class LimitsSpec(Document):
    """What is too much is refused before it costs anything."""

    body_mb: float = Field(64, gt=0, description="Larger requests are refused with 413")
    bodies_mb: float = Field(
        1024, gt=0, description="Bodies and fetched images of all requests together, for each API replica; 503 beyond"
    )
    image_pixels: int = Field(50_000_000, ge=1, description="Larger images are refused before decoding")
    exemplars_per_set: int = Field(200, ge=1, description="Larger exemplar sets are refused with 413")
    requests_per_key: int = Field(64, ge=1, description="Requests of one key at the same time, for each API replica")
    queued: int = Field(256, ge=1, description="Images waiting for a model before requests are refused with 503")
    timeout_seconds: float = Field(60, gt=0, description="From a request's first byte to its answer")

    @model_validator(mode="after")
    def one_body_fits(self) -> LimitsSpec:
        if self.bodies_mb < self.body_mb:
            raise ValueError(f"bodies_mb {self.bodies_mb:g} is less than body_mb {self.body_mb:g}: no body would fit")
        return self


class BatchingSpec(Document):
    """Images of different requests go through the network together."""

    size: int = Field(8, ge=1, description="At most this many images go through the network together")
    wait_ms: float = Field(10, ge=0, description="How long a batch waits to fill")


class ReplicasSpec(Document):
    """Processes that hold models; they scale with the number of waiting images."""

    min: int = Field(1, ge=1, description="As many hold a model while nothing is asked")
    max: int = Field(1, ge=1, description="At most as many, however many images wait")
    cpus: float = Field(1, ge=0, description="CPUs that Ray sets aside for each")
    gpus: float = Field(0, ge=0, description="GPUs of each; 0.5 puts two on one GPU")
    threads: int = Field(1, ge=1, description="CPU threads of one network")
    annotators: int = Field(4, ge=1, description="Pairs of model and exemplar set kept in memory")
    api: int = Field(1, ge=1, description="Processes that answer HTTP")


class LabelStudioSpec(Document):
    url: str = Field(description="Where Label Studio is; its /data/ files are fetched from there and nowhere else")
    exemplars: str | None = Field(None, description="Exemplar set for projects that name none and have no labels yet")


class ServeConfig(Document):
    """One endpoint."""

    model: str = Field(DEFAULT_MODEL, description="What answers when a request names no model")
    models: list[str] = Field(default=[], description="Further models that requests may name")
    store: str = Field("exemplar-store", description="Folder or bucket prefix for exemplar sets")
    keep_days: float = Field(
        30, ge=0, description="Exemplars that no name means any more are kept so long after their last use by digest"
    )
    storage: StorageSpec = StorageSpec()
    host: str = Field("127.0.0.1", description="Where to listen; another host needs API keys")
    port: int = Field(8000, ge=1, le=65535, description="Of the page and the API")
    insecure: bool = Field(False, description="Serve other machines without API keys")
    keys_file: str | None = Field(None, description="One API key per line; TLG_API_KEYS in the environment adds to it")
    uri_prefixes: list[str] = Field(default=[], description="Images and exemplars may be fetched from below these")
    output_prefixes: list[str] = Field(default=[], description="Jobs submitted here may write below these")
    jobs_address: str | None = Field(None, description="Ray cluster that runs submitted jobs, like http://head:8265")
    label_studio: LabelStudioSpec | None = Field(None, description="Answer as a Label Studio model under /ls")
    logs: Literal["text", "json"] = Field("text", description="Lines of the log: text, or an object of JSON each")
    limits: LimitsSpec = LimitsSpec()
    batching: BatchingSpec = BatchingSpec()
    replicas: ReplicasSpec = ReplicasSpec()

    @field_validator("uri_prefixes", "output_prefixes")
    @classmethod
    def prefixes_name_a_place(cls, prefixes: list[str]) -> list[str]:
        for prefix in prefixes:
            if storage.scheme(prefix) == "file":
                if not storage.path_in_store(prefix).strip("/"):
                    raise ValueError(f"'{prefix}' would open the whole disk; name a folder")
            elif not urlsplit(prefix).netloc:
                raise ValueError(f"'{prefix}' names no host or bucket; expected like https://images.example.org/")
        return prefixes

    @property
    def access(self) -> Access:
        return Access(self.storage.endpoint, self.storage.region, STORE_PATIENCE_SECONDS)

    @property
    def known_models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([self.model, *self.models]))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_config(path: str | None, assignments: list[str]) -> ServeConfig:
    """Read a configuration file (none: the defaults). Its relative `store` and `keys_file` count from its folder."""
    written = {} if path is None else read_text(storage.read_text(path), path)
    config = parse(ServeConfig, apply_overrides(written, assignments), path or "serve")
    folder = "." if path is None else storage.parent(path)
    places = {"store": storage.join(folder, config.store)}
    if config.keys_file:
        places["keys_file"] = storage.join(folder, config.keys_file)
    return config.model_copy(update=places)
