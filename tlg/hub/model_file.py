"""`model.json`: everything needed to rebuild a model, and what answers depend on. Read without torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tlg.errors import CheckpointError, StorageError
from tlg.network.spec import NetworkSpec
from tlg.network.text_spec import TextSpec

MODEL_FILE = "model.json"
FORMAT = "tlg-model-1"
# What answers do not depend on: how the model is called and described, and how its backbone travelled.
DESCRIPTIVE = ("name", "card", "carried")
# Keys that earlier versions wrote, with the one value that they could have. They say nothing any more, and stay part of
# the digest of the folders that have them: what was answered keeps its identity.
RETIRED: dict[str, Any] = {"prior": {}}


class ClipSpec(BaseModel):
    """A CLIP that lies in the folder: its open_clip config and the words it knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: dict[str, Any]
    words: list[str]


class OpenClipSpec(BaseModel):
    """An open_clip model that says what names mean. Its weights are a file of the folder, as it came, or named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: dict[str, Any] = Field(description="open_clip's config of the architecture")
    mean: tuple[float, float, float] = Field(description="Of the channels of the pictures that it learned from")
    std: tuple[float, float, float]
    settings: dict[str, Any] = Field(description="tlg.evidence.open_clip.clip_spec.ClipPriorSpec, but for its weights")
    file: str = Field(description="The weights' name where they lie in the folder")
    weights: str | None = Field(
        None, description="Where the weights are, where the folder leaves them out: see tlg.hub.sources.registry"
    )
    sha256: str = Field(description="Of the weights' file as it came")
    size: int = Field(description="Its bytes")


class WeightsRecord(BaseModel):
    """The fetched weights a model was made with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licence: str | None = Field(None, description="As their publisher states it")
    sha256: str = Field(description="Of the file as it came")
    size: int = Field(description="Its bytes")
    probe: tuple[float, ...] = Field(description="What the backbone makes of the probe picture, see tlg.hub.probe")


class Card(BaseModel):
    """What a person wants to know before choosing a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    good_for: str
    licence: str = Field(description="Of the model's own files")
    weights_licence: str | None = Field(None, description="Of the backbone's weights, where they are fetched")
    weights_size: int | None = Field(None, description="Bytes of the backbone's weights, where they are fetched")


class ModelFile(BaseModel):
    """The content of `model.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = FORMAT
    name: str
    backbone: str
    backbone_taps: tuple[tuple[str, ...], ...] | None = Field(
        None, description="Modules whose outputs make the pyramid, level by level; null: the backbone's own rule"
    )
    network: NetworkSpec | None = Field(None, description="None: the model answers with its prior alone")
    text: TextSpec | None = Field(None, description="None: the network reads no text, or that of `clip`")
    clip: ClipSpec | None = Field(None, description="The model's own CLIP: text vectors and a text prior")
    names: str | None = Field(
        None, description="Who says what names mean: see tlg.evidence.names.registry; null: `clip`, else the classifier"
    )
    open_clip: OpenClipSpec | None = Field(None, description="What `names: open_clip` means")
    kinds: tuple[str, ...] | None = Field(
        None, description="Kinds of things that were taught by name, see tlg.evidence.names.taught; null: none"
    )
    input_size: tuple[int, int] = Field((400, 400), description="Height and width images are resized to")
    backbone_weights: str | None = Field(
        None,
        description="Where the backbone's weights come from, where no file holds them: see tlg.hub.sources.registry",
    )
    backbone_record: WeightsRecord | None = Field(None, description="What is known of those weights")
    card: Card | None = None
    files: dict[str, str] = Field({}, description="SHA-256 of every file beside this one")
    carried: dict[str, str] = Field(
        {}, description="SHA-256 of files that were put beside this one in place of a download"
    )


def digest_of_content(content: dict[str, Any]) -> str:
    """What answers depend on: the spec as written and the files' digests, not the name.

    The content is taken as it stands in the file: keys that later versions add with a default change no digest.
    """
    relevant = {key: value for key, value in content.items() if key not in DESCRIPTIVE}
    return hashlib.blake2b(json.dumps(relevant, sort_keys=True).encode(), digest_size=16).hexdigest()


def read_content(folder: str | Path) -> dict[str, Any]:
    """What `model.json` says, unchecked but for being a model file."""
    from tlg import store  # a listing of models does without the stores' clients

    place = store.join(str(folder), MODEL_FILE)
    try:
        content = json.loads(store.read(place))
    except StorageError as error:
        raise CheckpointError(f"{folder} is not a model folder: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{place} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{place} holds a {type(content).__name__}, expected keys and values")
    return content


def read_model_file(folder: str | Path) -> ModelFile:
    return checked(read_content(folder), str(folder))


def checked(content: dict[str, Any], folder: str) -> ModelFile:
    """The content as a model file of this version."""
    if content.get("format", FORMAT) != FORMAT:
        raise CheckpointError(f"{folder} has format {content['format']!r}, this version reads {FORMAT!r}; update tlg")
    try:
        return ModelFile.model_validate({key: value for key, value in content.items() if not is_retired(key, value)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CheckpointError(
            f"{folder}/{MODEL_FILE} is not a {MODEL_FILE} of ours: {where}: {first['msg']}"
        ) from error


def is_retired(key: str, value: Any) -> bool:
    return key in RETIRED and value == RETIRED[key]
