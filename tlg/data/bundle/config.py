"""What `configs/models/tlg-tiny/recipe.yaml` may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tlg.model.network_spec import NetworkSpec


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BankStage(Strict):
    """Scenes to learn from: `count` of base classes alone and as many of all classes (for CLIP's captions)."""

    count: int
    size: int
    seed: int


class BackboneStage(Strict):
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    background_weight: float
    taps: tuple[int, ...]
    sides: tuple[int, ...]
    zoom: tuple[float, float]


class ClipStage(Strict):
    """`model` is an open_clip config; the vocabulary's size is filled in from the world's texts."""

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    side: int
    zoom: tuple[float, float]
    phrases: int
    model: dict


class SegmenterStage(Strict):
    """`network` is a NetworkSpec; `shots` are drawn per step; `absent_share` of the queries lack the class."""

    seed: int
    steps: int
    images_per_step: int
    shots: tuple[int, ...]
    learning_rate: float
    weight_decay: float
    side: int
    zoom: tuple[float, float]
    absent_share: float
    network: NetworkSpec
