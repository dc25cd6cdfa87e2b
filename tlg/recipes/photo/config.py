"""What `configs/models/tlg-photo.yaml` may say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tlg.documents import apply_overrides
from tlg.errors import SpecError
from tlg.network.spec import NetworkSpec


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class BackboneStage(Strict):
    """The frozen backbone, and the address of its weights as `tlg.hub.sources.registry` reads it."""

    name: str
    weights: str


class DataStage(Strict):
    """`indexed` holds label maps and `episodes.json` with its folds, `pairs` one group's object a folder.

    Objects of the classes `whole_things` can be cut out; pieces of the classes `surfaces` can be a ground for flaws.
    `kinds` are taught by name: words of `tlg/evidence/names/kinds.json`, each with the classes that fall under it.
    """

    indexed: Path
    pairs: Path
    whole_things: tuple[int, ...]
    surfaces: tuple[int, ...]
    kinds: dict[str, tuple[int, ...]] = {}


class PhotoCounts(Strict):
    """How many pictures of each kind are made from photographs."""

    paste: int
    small_paste: int = Field(alias="small paste")
    mosaic: int
    zoom: int


class DrawnCounts(Strict):
    """Crowds show few of `kinds`, so that a kind comes again; every factory has surfaces and flaws of its own."""

    crowds: int
    kinds: int
    factories: int
    pictures_of_each: int = Field(alias="pictures of each")


class BankStage(Strict):
    """Pictures have `side` pixels a side, their label maps half as many."""

    seed: int
    side: int
    photo: PhotoCounts
    drawn: DrawnCounts


class KindsStage(Strict):
    """How the kinds of `data` are taught."""

    seed: int
    steps: int
    batch_size: int
    width: int
    learning_rate: float
    weight_decay: float


class TrainingStage(Strict):
    """`mix` weighs the groups that queries come from; the rate rises over `warmup` steps and follows a cosine.

    `average` bounds the decay of the averaged weights, which are the ones that ship.
    """

    seed: int
    steps: int
    batch_size: int
    shots: tuple[int, ...]
    mix: dict[str, float]
    learning_rate: float
    warmup: int
    weight_decay: float
    betas: tuple[float, float]
    clip: float
    average: float
    network: NetworkSpec


class Recipe(Strict):
    """Everything the head is made of."""

    backbone: BackboneStage
    data: DataStage
    bank: BankStage
    kinds: KindsStage
    training: TrainingStage


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    try:
        return Recipe.model_validate(apply_overrides(yaml.safe_load(path.read_text()), list(overrides)))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SpecError(f"{path} is not a recipe of tlg-photo: {error}") from None
