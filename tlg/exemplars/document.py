"""The exemplar document: what a user writes."""

from __future__ import annotations

import unicodedata

from pydantic import Field, field_validator, model_validator

from tlg import store
from tlg.documents import Document
from tlg.exemplars.drawing import Drawn


class ExemplarRef(Drawn):
    """Where an exemplar is; a mask or a drawing that says where the class is in it is optional."""

    image: str = Field(description="Path or URI; relative paths count from the document's folder")
    mask: str | None = Field(None, description="Mask of the same size, marked pixels non-zero")


class ExemplarClass(Document):
    name: str = Field(min_length=1, max_length=200, description="What the class is called in every answer")
    attributes: str | None = Field(None, description="The name with its attributes: `red fox with a bushy tail`")
    context: list[str] = Field(default=[], description="Typical surroundings: [forest, snow]")
    exemplars: list[ExemplarRef] = Field(
        min_length=1,
        description="Images that show the class: a path or URI each, or `image` with `mask`, `polygons`, `boxes`,"
        " `points` or `scribbles`",
    )

    @field_validator("exemplars", mode="before")
    @classmethod
    def short_form(cls, value: object) -> object:
        if isinstance(value, list):
            return [{"image": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("name")
    @classmethod
    def stripped(cls, value: str) -> str:
        return seen_name(value)


def seen_name(name: str) -> str:
    """A class's name without blanks around it. Raises ValueError where nobody could see it."""
    # A name of blanks, or of characters of no width, would be a nameless class to everyone who reads it.
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        raise ValueError("a class needs a name that can be seen")
    return name.strip()


class ExemplarDocument(Document):
    """What the user wrote. Class ids are positions in `classes`, starting at 1."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="What the set is called")
    classes: list[ExemplarClass] = Field(min_length=1, description="The classes, numbered from 1 in this order")
    negatives: list[str] = Field(default=[], description="Images that show none of the classes")

    @model_validator(mode="after")
    def distinct_names(self) -> ExemplarDocument:
        seen: set[str] = set()
        for described in self.classes:
            if described.name.casefold() in seen:
                raise ValueError(f"two classes are named '{described.name}'; names must differ")
            seen.add(described.name.casefold())
        return self


def anchored(written: ExemplarDocument, folder: str) -> ExemplarDocument:
    """The document with its relative paths counted from a folder."""
    classes = [
        described.model_copy(update={"exemplars": [_anchored_ref(ref, folder) for ref in described.exemplars]})
        for described in written.classes
    ]
    negatives = [store.join(folder, uri) for uri in written.negatives]
    return written.model_copy(update={"classes": classes, "negatives": negatives})


def _anchored_ref(ref: ExemplarRef, folder: str) -> ExemplarRef:
    mask = None if ref.mask is None else store.join(folder, ref.mask)
    return ref.model_copy(update={"image": store.join(folder, ref.image), "mask": mask})
