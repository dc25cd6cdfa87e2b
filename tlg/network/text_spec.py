"""What is said about a class, and where its text vectors come from. Read without torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, field_validator


@dataclass(frozen=True)
class ClassText:
    """What is said about a class: its name, and optionally the name with attributes and typical surroundings."""

    name: str
    attributes: str | None = None
    context: tuple[str, ...] = ()


class TextSpec(BaseModel):
    """Where text vectors come from and how a class becomes sentences. `table` takes precedence over `model`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("ViT-B-32", description="Any model name that open_clip knows")
    pretrained: str = Field("openai", description="open_clip's name of its weights, or a path to them")
    table: str | None = Field(None, description="Path or URI of an npz with `names` and `vectors`")
    template: str = Field("a clean origami {}.", description="Sentence around every text; {} is its place")
    default_attributes: str = Field(
        "{}", description="The refined text where a class has no attributes; {} is its name"
    )
    default_context: tuple[str, ...] = Field(("background",), description="Surroundings where a class names none")

    @field_validator("template", "default_attributes")
    @classmethod
    def has_a_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError(f"{value!r} needs exactly one {{}}, where the text goes")
        return value

    def sentences(self, text: ClassText) -> tuple[str, str, str]:
        """What is encoded for foreground, refined and background, before the template."""
        refined = text.attributes or self.default_attributes.format(text.name)
        return text.name, refined, ",".join(text.context or self.default_context)
