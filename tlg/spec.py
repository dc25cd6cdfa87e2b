"""The job spec that a user writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tlg.deployment import DeploySpec
from tlg.documents import Document, apply_overrides, parse, read_text
from tlg.errors import SpecError, StorageError
from tlg.registry import known_names, unknown

# What answers where nobody names a model: jobs, endpoint, page, Python.
DEFAULT_MODEL = "tlg-photo"

# Formats of the product, in the order in which they are told; installed packages add theirs.
OUR_EXPORT_FORMATS = (
    "parquet",
    "coco",
    "label_studio",
    "label_studio_jsonl",
    "labelme",
    "yolo_seg",
    "label_maps",
    "hugging_face",
    "croissant",
    "overlay",
)
SMALLEST_OBJECT = 50
# Smaller tiles show too little around a thing.
SMALLEST_TILE = 64
Tile = Literal["auto", "off"] | Annotated[int, Field(ge=SMALLEST_TILE)]
EXPORTS_GROUP = "tlg.exports"
WEB_ADDRESS = r"^https?://\S+$"


def export_formats() -> list[str]:
    """What `output.formats` may name: ours, and the entry points of installed packages."""
    return known_names(EXPORTS_GROUP, OUR_EXPORT_FORMATS)


class LabelStudioProject(Document):
    """A project of Label Studio; its token comes from the environment."""

    url: str = Field(pattern=WEB_ADDRESS, description="Where Label Studio is")
    project: int = Field(ge=1, description="The project's number")

    @property
    def address(self) -> str:
        return f"label-studio+{self.url.rstrip('/')}/projects/{self.project}"


class CvatTask(Document):
    """A task of CVAT; its token comes from the environment."""

    url: str = Field(pattern=WEB_ADDRESS, description="Where CVAT is")
    task: int = Field(ge=1, description="The task's number")

    @property
    def address(self) -> str:
        return f"cvat+{self.url.rstrip('/')}/tasks/{self.task}"


class ImagesSpec(Document):
    """Which images: a prefix with a pattern, a manifest file with a `uri` column, or what a labelling tool shows.

    `label_studio` and `cvat` are other spellings of an address: once read, the spec has it as its `uri`.
    """

    uri: str | None = Field(
        None,
        description="Folder, prefix or list of images: path, s3://, gs://, az://, hf://, http(s)://, "
        "label-studio+http://, cvat+http://",
    )
    pattern: str = Field("**/*", description="Glob below `uri`; only image files are taken")
    manifest: str | None = Field(None, description="Parquet, CSV or JSONL with a `uri` column")
    labels: str | None = Field(None, description="Manifest column with the candidate class names of each image")
    label_studio: LabelStudioProject | None = Field(None, description="The images of a Label Studio project")
    cvat: CvatTask | None = Field(None, description="The images of a CVAT task")

    @model_validator(mode="after")
    def one_source(self) -> ImagesSpec:
        tool = self.label_studio or self.cvat
        if sum(source is not None for source in (self.uri, self.manifest, self.label_studio, self.cvat)) != 1:
            raise ValueError(
                "give exactly one of `uri` (a prefix), `manifest` (a file), `label_studio` (a project), `cvat` (a task)"
            )
        if self.labels and not self.manifest:
            raise ValueError("`labels` names a manifest column, so it needs `manifest`")
        if tool is not None:
            # Once, before anybody has the spec: everything that reads it knows one spelling.
            self.__dict__.update(uri=tool.address, label_studio=None, cvat=None)
            self.__pydantic_fields_set__.difference_update(("label_studio", "cvat"))
            self.__pydantic_fields_set__.add("uri")
        return self


class OutputSpec(Document):
    uri: str = Field(description="Folder or prefix that receives annotations/, coco/, quarantine/, runs/, report/")
    formats: list[str] = Field(
        ["parquet", "coco"],
        description=f"Written beside the ledger's shards: {', '.join(OUR_EXPORT_FORMATS)}, or a package's",
    )
    masks: Literal["rle", "polygon"] = Field("rle", description="How COCO writes masks; Parquet always has RLE")

    objects: bool = Field(False, description="Part each class's mask into objects, each with score, box and area")
    smallest_object: int = Field(
        SMALLEST_OBJECT, ge=1, description="With `objects`: smaller ones, in pixels of the picture, are left out"
    )

    @field_validator("formats")
    @classmethod
    def known(cls, value: list[str]) -> list[str]:
        for name in value:
            # Looking through all installed packages takes a while.
            if name not in OUR_EXPORT_FORMATS and name not in (expected := export_formats()):
                raise ValueError(unknown("format", name, expected))
        return value


class RunSpec(Document):
    min_score: float = Field(0.5, ge=0, le=1, description="Masks scored below it are reported as absent")
    max_error_rate: float = Field(0.05, ge=0, le=1, description="The run stops past this share of failed images")
    batch_size: int = Field(
        8, ge=1, le=1024, description="Images handed to the model together; a CPU takes them one by one"
    )
    tile: Tile = Field(
        "auto",
        description="Large images with small things are also answered in tiles: `auto` where the exemplars' things are"
        " small, `off`, or a tile's side in pixels",
    )
    background: Literal["model", "collection"] = Field(
        "model",
        description="What is ordinary in pictures, so that a class stands out from it: as the `model` learned it, or as"
        " a fixed sample of this `collection` shows it",
    )
    max_pixels: int = Field(50_000_000, ge=1, description="Larger images are scaled down for the model")
    max_bytes: int = Field(2**30, ge=1, description="Larger files are quarantined as `too_large` without being read")
    price_per_hour: float | None = Field(None, ge=0, description="Price of one worker, for the cost in reports")


class WorkersSpec(Document):
    min: int = Field(1, ge=1, description="Workers that hold the model from the start")
    max: int | None = Field(
        None,
        ge=1,
        description="Workers that a long job may grow to. Without it: `min` on Ray, else a process for each core",
    )
    gpus: float = Field(0, ge=0, description="GPUs of one worker; fractions share a GPU")
    cpus: float = Field(1, gt=0, description="CPU threads of one worker")
    memory_gb: float | None = Field(None, gt=0, description="Memory that one worker asks of Ray")

    @model_validator(mode="after")
    def ordered(self) -> WorkersSpec:
        if self.min > self.most:
            raise ValueError(f"workers.min is {self.min}, above workers.max {self.max}")
        return self

    @property
    def most(self) -> int:
        """Workers that a job on Ray may grow to."""
        return self.min if self.max is None else self.max

    @property
    def device(self) -> str:
        """What a worker's model runs on, in torch's words."""
        return "cuda" if self.gpus else "cpu"


class StorageSpec(Document):
    """How to reach the stores. Credentials come from the environment, never from a spec."""

    endpoint: str | None = Field(None, description="Address of an S3 server that is not the provider's own")
    region: str | None = Field(None, description="S3 region, where the environment names none")


class AnnotateSpec(Document):
    """One annotation job: these images, those exemplars, this model, that output."""

    name: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,45}[a-z0-9])?$", description="Lower-case letters, digits, hyphens"
    )
    images: ImagesSpec = Field(description="Which images are annotated")
    exemplars: str = Field(description="Exemplar set: YAML or JSON file, or a folder `class name/*.jpg`")
    model: str = Field(DEFAULT_MODEL, description="Bundled or configured name, a model folder or its URI")
    output: OutputSpec = Field(description="Where the answers go, and in which formats")
    run: RunSpec = Field(RunSpec(), description="How images are answered")
    workers: WorkersSpec = Field(WorkersSpec(), description="How many processes hold the model, and what each needs")
    storage: StorageSpec = Field(StorageSpec(), description="How to reach the stores")
    deploy: DeploySpec = Field(DeploySpec(), description="What a cluster has to know")

    @field_validator("name", mode="before")
    @classmethod
    def stripped(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value


def load_annotate_spec(path: str, assignments: list[str] | None = None) -> AnnotateSpec:
    """Read a job spec file. Relative `exemplars`, `images`, `model` and `output` paths count from the file's folder."""
    from tlg import store  # a client reads the spec's types without the packages of any store

    try:
        text = store.read_text(path)
    except StorageError as error:
        if error.missing:
            raise SpecError(f"{path}: there is no such spec file; check the name") from None
        raise
    content = apply_overrides(read_text(text, path), assignments or [])
    spec = parse(AnnotateSpec, content, path)
    return anchored(spec, store.parent(path))


def short_spec(images: str, exemplars: str, output: str, assignments: list[str]) -> AnnotateSpec:
    """A job of the three places that every job needs, relative ones counted from the working directory."""
    content = {"name": "job", "images": {"uri": images}, "exemplars": exemplars, "output": {"uri": output}}
    return anchored(parse(AnnotateSpec, apply_overrides(content, assignments), "command line"), ".")


def anchored(spec: AnnotateSpec, folder: str) -> AnnotateSpec:
    """The spec with every relative path made absolute from `folder`, so that it means the same anywhere."""
    from tlg import store  # a client reads the spec's types without the packages of any store

    def place(value: str | None) -> str | None:
        return None if value is None else store.join(folder, value)

    model = spec.model
    if "/" in model or model.startswith("."):
        model = store.join(folder, model)
    return spec.model_copy(
        update={
            "images": spec.images.model_copy(
                update={"uri": place(spec.images.uri), "manifest": place(spec.images.manifest)}
            ),
            "exemplars": place(spec.exemplars),
            "model": model,
            "output": spec.output.model_copy(update={"uri": place(spec.output.uri)}),
        }
    )
