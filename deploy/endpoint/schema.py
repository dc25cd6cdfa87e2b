"""API v1: what travels in and out. Answers are rows of `tlg.answers.records`, the client's types `tlg.answers.wire`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, StringConstraints, WithJsonSchema, model_validator

from tlg.annotators.protocol import AnnotateParams
from tlg.documents import Document
from tlg.exemplars import Drawn
from tlg.spec import Tile

SET_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MAX_IMAGES = 64
Binary = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
SetName = Annotated[str, StringConstraints(pattern=SET_NAME)]
ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
STORED_IMAGE = r"^[0-9a-f]{32}/images/[A-Za-z0-9-]{1,100}(/[A-Za-z0-9-]{1,100})*$"
StoredImage = Annotated[str, StringConstraints(pattern=STORED_IMAGE)]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class Problem(Document):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class Content(Document):
    """An image or mask: where it is, its bytes, or its place in a stored set."""

    uri: Uri | None = Field(None, description="Below one of the endpoint's `uri_prefixes`")
    data: str | None = Field(None, description="Base64, a data: URI is fine")
    stored: StoredImage | None = Field(
        None, description="`DIGEST/images/...` as a stored set's document names it: an image that was sent before"
    )
    name: str | None = Field(None, max_length=500, description="What `data` is called in answers")
    _raw: bytes | None = PrivateAttr(None)

    @model_validator(mode="after")
    def one_source(self) -> Content:
        if sum(source is not None for source in (self.uri, self.data, self.stored)) != 1:
            raise ValueError("give exactly one of `uri`, `data` and `stored`")
        return self

    @classmethod
    def of_bytes(cls, raw: bytes, name: str) -> Content:
        """A multipart part: its bytes need no base64."""
        content = cls(data="", name=name[:500])
        content._raw = raw
        return content

    @property
    def raw(self) -> bytes | None:
        return self._raw


class Exemplar(Drawn):
    """An image of a class; a mask, or what was drawn on the image, says where the class is."""

    image: Content
    mask: Content | None = None


class InlineClass(Document):
    name: ClassName
    attributes: str | None = Field(None, max_length=500)
    context: list[Annotated[str, StringConstraints(max_length=200)]] = Field([], max_length=50)
    exemplars: list[Exemplar] = Field(min_length=1, max_length=10_000)


class InlineSet(Document):
    """An exemplar set in a request: classes with their exemplars, negatives without any of them."""

    classes: list[InlineClass] = Field(min_length=1, max_length=1000)
    negatives: list[Content] = Field([], max_length=10_000)

    def laid_out(self) -> tuple[dict[str, Any], dict[str, Content]]:
        """The exemplar document of this set, and the content of each file that it names."""
        contents: dict[str, Content] = {}

        def placed(content: Content, path: str) -> str:
            contents[path] = content
            return path

        document: dict[str, Any] = {"name": "inline", "classes": []}
        for number, of_class in enumerate(self.classes, start=1):
            exemplars = []
            for position, ref in enumerate(of_class.exemplars, start=1):
                place = f"images/class-{number}/exemplar-{position}"
                described = ref.drawing.model_dump(mode="json", exclude_defaults=True)
                described["image"] = placed(ref.image, place)
                if ref.mask:
                    described["mask"] = placed(ref.mask, f"{place}-mask")
                exemplars.append(described)
            texts = {"name": of_class.name, "attributes": of_class.attributes, "context": of_class.context}
            document["classes"].append(texts | {"exemplars": exemplars})
        document["negatives"] = [
            placed(content, f"images/negatives/exemplar-{position}")
            for position, content in enumerate(self.negatives, start=1)
        ]
        return document, contents


class _Asked(Document):
    exemplars: SetName | InlineSet = Field(description="Name or digest of a stored set, or the exemplars themselves")
    classes: list[ClassName] | None = Field(None, max_length=1000, description="All classes of the set if left out")
    min_score: float = Field(AnnotateParams().min_score, ge=0, le=1)
    tile: Tile = Field("auto", description="How large images are looked at, like `run.tile` of a job")
    model: str | None = Field(None, max_length=500)


class AnnotateRequest(_Asked):
    image: Content
    format: Literal["rle", "polygon", "coco", "png"] = "rle"


class BatchRequest(_Asked):
    images: list[Content] = Field(min_length=1, max_length=MAX_IMAGES)
    format: Literal["rle", "polygon", "coco"] = "rle"


class ExemplarForm(Document):
    """An exemplar set as multipart: as many labels as exemplars, in the same order."""

    exemplar: list[Binary] = Field(description="Image files")
    label: list[str] = Field(description="The class of each exemplar")
    negative: list[Binary] = Field([], description="Images with none of the classes")


class _AskedForm(Document):
    """A request as multipart: `exemplars`, or exemplars with their labels."""

    exemplars: str | None = Field(None, description="Name or digest of a stored set, or an exemplar set as JSON")
    exemplar: list[Binary] = Field([], description="Image files, instead of `exemplars`")
    label: list[str] = Field([], description="The class of each exemplar")
    negative: list[Binary] = Field([], description="Images with none of the classes")
    classes: list[str] = Field([], description="All classes of the set if left out")
    min_score: float = Field(AnnotateParams().min_score, ge=0, le=1)
    tile: Tile = Field("auto", description="How large images are looked at, like `run.tile` of a job")
    model: str | None = None


class AnnotateForm(_AskedForm):
    image: Binary
    format: Literal["rle", "polygon", "coco", "png"] = "rle"


class BatchForm(_AskedForm):
    image: list[Binary] = Field(min_length=1, max_length=MAX_IMAGES)
    format: Literal["rle", "polygon", "coco"] = "rle"
