"""What the endpoint answers: the same types for the server that writes and the client that reads."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Wire(BaseModel):
    # A newer endpoint may say more than this client knows.
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class RleOnWire(_Wire):
    size: list[int]
    counts: str


class AnswerRow(_Wire):
    """A row of `tlg.answers.records`; `polygons` takes the place of `rle` where polygons were asked for."""

    image_id: str
    image_uri: str
    image_etag: str | None = None
    height: int | None = None
    width: int | None = None
    class_name: str | None = None
    class_id: int | None = None
    status: Literal["mask", "absent", "error"]
    score: float | None = None
    presence: float | None = None
    area: int | None = None
    bbox: list[float] | None = None
    rle: RleOnWire | None = None
    polygons: list[list[float]] | None = None
    part: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    model_digest: str
    exemplars_digest: str
    params_digest: str
    run_id: str


class Answers(_Wire):
    """The rows of one request, image after image in the order asked."""

    rows: list[AnswerRow]


class CocoImage(_Wire):
    id: int
    file_name: str
    width: int
    height: int


class CocoCategory(_Wire):
    id: int
    name: str


class CocoAnnotation(_Wire):
    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: int
    iscrowd: int
    segmentation: RleOnWire
    score: float


class Coco(_Wire):
    images: list[CocoImage]
    categories: list[CocoCategory]
    annotations: list[CocoAnnotation]


class StoredClass(_Wire):
    name: str
    class_id: int
    attributes: str | None = None
    context: list[str] = []
    exemplars: int
    masks: int
    drawings: int = 0


class StoredSet(_Wire):
    """An exemplar set as the endpoint keeps it; `uri` is what a job's `exemplars` may name.

    `uri` is None where other machines may ask and the set lies in a folder of the endpoint's own machine.
    """

    name: str
    digest: str
    classes: list[StoredClass]
    negatives: int
    uri: str | None = None


class StoredSets(_Wire):
    exemplar_sets: list[StoredSet]


class Health(_Wire):
    status: Literal["ok"]
    model: str


class JobState(_Wire):
    id: str
    status: Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
    message: str | None = None
