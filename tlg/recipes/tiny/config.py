"""What `configs/models/tlg-tiny.yaml` may say."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tlg.errors import SpecError
from tlg.network.spec import NetworkSpec


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BankStage(Strict):
    """Scenes to learn from: `count` of base classes alone and as many of all classes (for CLIP's captions)."""

    count: int
    size: int
    seed: int


class BackboneStage(Strict):
    """The learning rate follows one cycle of `horizon` steps, and falls to nothing over the last `cooldown` of `steps`.

    After `handover` steps the trunk is handed to CLIP, so that the two can be trained at the same time.
    """

    seed: int
    handover: int
    steps: int
    horizon: int
    cooldown: int
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


class Round(Strict):
    """A part of a training with its own learning rate: one cycle of `horizon` steps, of which `steps` are done.

    Each pseudo-mask's log-odds are lowered by up to `weakening`: CLIP is surer of base classes, which the backbone
    knows, than of novel ones, and TLG must not learn to rely on that. `overlap` weighs the Dice loss.
    """

    steps: int
    horizon: int
    images_per_step: int
    learning_rate: float
    weakening: float
    overlap: float


class SegmenterStage(Strict):
    """`network` is a NetworkSpec; `shots` are drawn per step; `absent_share` of the queries lack the class."""

    seed: int
    rounds: tuple[Round, ...]
    shots: tuple[int, ...]
    weight_decay: float
    side: int
    zoom: tuple[float, float]
    absent_share: float
    network: NetworkSpec


class EvaluationStage(Strict):
    """Ablations are trained anew for `ablation_round` with each of `ablation_seeds`, scored on the same scenes."""

    seed: int
    scenes: int
    shots: tuple[int, ...]
    ablation_scenes: int
    ablation_round: Round
    ablation_seeds: tuple[int, ...]


class Recipe(Strict):
    """Everything the bundled model is made of."""

    bank: BankStage
    backbone: BackboneStage
    clip: ClipStage
    segmenter: SegmenterStage
    evaluation: EvaluationStage


def read_recipe(path: Path) -> Recipe:
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SpecError(f"{path} is not a recipe of the bundled model: {error}") from None
