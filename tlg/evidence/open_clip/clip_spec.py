"""How text becomes maps, as a config says it: `configs/prior/clip.yaml` explains every key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from tlg import store
from tlg.documents import Document, apply_overrides, parse, read_text

DEFAULT_BACKGROUND = Path(__file__).with_name("background_prompts.yaml")


class BackgroundPrompts(Document):
    """A file of prompts for what pictures hold besides the classes."""

    prompts: tuple[str, ...] = Field(min_length=1)


@cache
def read_background(location: str) -> tuple[str, ...]:
    return parse(BackgroundPrompts, read_text(store.read_text(location), location), location).prompts


class ClipPriorSpec(Document):
    """The text prior's settings."""

    architecture: str = Field("ViT-B-16", description="An open_clip model name")
    weights: str | None = Field("openai", description="An open_clip pretrained tag, a file, or null for random")
    family: Literal["activation", "dense"] = "activation"
    dense_attention: Literal["maskclip", "sclip", "naclip", "clearclip"] = "naclip"
    template: str = Field("a clean origami {}.", description="Sentence around every name and prompt")
    background: tuple[str, ...] = Field(
        default_factory=lambda: read_background(str(DEFAULT_BACKGROUND)),
        min_length=1,
        description="Prompts that compete with the classes, or the path of a file with `prompts`",
    )
    affinity_blocks: int = Field(8, ge=0, description="Attention of so many blocks before the last refines activations")
    affinity_steps: int = Field(2, ge=0)
    scales: tuple[float, ...] = Field((1.0,), min_length=1, description="Maps are averaged over these sizes")
    mirrored: bool = Field(False, description="And over the mirror image")

    @field_validator("background", mode="before")
    @classmethod
    def from_file(cls, value: object) -> object:
        return read_background(value) if isinstance(value, str) else value

    @field_validator("template")
    @classmethod
    def has_a_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError(f"{value!r} needs exactly one {{}}, where the name goes")
        return value


def read_clip_spec(config: str | None, given: Mapping[str, str | None], overrides: Sequence[str] = ()) -> ClipPriorSpec:
    """From a config file or the defaults, with what is `given` (and not None) and `key=value` overrides on top."""
    content = {} if config is None else read_text(store.read_text(config), config)
    content |= {key: value for key, value in given.items() if value is not None}
    return parse(ClipPriorSpec, apply_overrides(content, list(overrides)), config or "CLIP settings")
