"""The job spec a user writes, and how any user-written document is read: strictly, with errors that help."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tlg.errors import SpecError


class Document(BaseModel):
    """Base of everything users write: unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ImagesSpec(Document):
    """Which images: a prefix with a pattern, or a manifest file with a `uri` column."""

    uri: str | None = Field(None, description="Folder, prefix or list of images: path, s3://, gs://, az://, http(s)://")
    pattern: str = Field("**/*", description="Glob below `uri`; only image files are taken")
    manifest: str | None = Field(None, description="Parquet, CSV or JSONL with a `uri` column")
    labels: str | None = Field(None, description="Manifest column with the candidate class names of each image")

    @model_validator(mode="after")
    def one_source(self) -> ImagesSpec:
        if (self.uri is None) == (self.manifest is None):
            raise ValueError("give exactly one of `uri` (a prefix) and `manifest` (a file)")
        if self.labels and not self.manifest:
            raise ValueError("`labels` names a manifest column, so it needs `manifest`")
        return self


class OutputSpec(Document):
    uri: str = Field(description="Folder or prefix that receives annotations/, coco/, quarantine/, runs/, report/")
    formats: list[Literal["parquet", "coco", "label_studio", "overlay"]] = ["parquet", "coco"]
    masks: Literal["rle", "polygon"] = Field("rle", description="How COCO writes masks; Parquet always has RLE")


class RunSpec(Document):
    min_score: float = Field(0.5, ge=0, le=1, description="Masks scored below it are reported as absent")
    max_error_rate: float = Field(0.05, ge=0, le=1, description="The run stops past this share of failed images")
    batch_size: int = Field(8, ge=1, le=1024)
    max_pixels: int = Field(50_000_000, ge=1, description="Larger images are scaled for the model, never fatal")
    price_per_hour: float | None = Field(None, ge=0, description="Price of one worker, for the cost in reports")


class WorkersSpec(Document):
    min: int = Field(1, ge=1)
    max: int = Field(1, ge=1)
    gpus: float = Field(0, ge=0, description="GPUs of one worker; fractions share a GPU")
    cpus: float = Field(1, gt=0)
    memory_gb: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def ordered(self) -> WorkersSpec:
        if self.min > self.max:
            raise ValueError(f"workers.min is {self.min}, above workers.max {self.max}")
        return self


class StorageSpec(Document):
    """How to reach the stores. Credentials come from the environment, never from a spec."""

    endpoint: str | None = None
    region: str | None = None


class VolumeSpec(Document):
    """A Kubernetes volume claim that every pod sees at the same path, so that paths below it mean the same."""

    claim: str
    path: str = Field(pattern=r"^/")


class DeploySpec(Document):
    """What Kubernetes or another cluster has to know beyond the job itself."""

    image: str = "tlg:latest"
    volumes: list[VolumeSpec] = Field(default=[], description="Claims with images, models or outputs on them")
    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes that workers need")
    namespace: str = "default"
    service_account: str | None = None
    secrets: list[str] = Field(default=[], description="Kubernetes secrets whose keys become environment variables")
    deadline_seconds: int = Field(6 * 3600, ge=60)
    keep_seconds: int = Field(3600, ge=0, description="How long a finished job stays visible")
    webhook: str | None = Field(None, description="Receives the summary of each run as Slack-compatible JSON")


class AnnotateSpec(Document):
    """One annotation job: these images, those exemplars, this model, that output."""

    name: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,45}[a-z0-9])?$", description="Lower-case letters, digits, hyphens"
    )
    images: ImagesSpec
    exemplars: str = Field(description="Exemplar set: YAML or JSON file, or a folder `class name/*.jpg`")
    model: str = Field("tlg-tiny", description="Bundled or configured name, a model folder or its URI")
    output: OutputSpec
    run: RunSpec = RunSpec()
    workers: WorkersSpec = WorkersSpec()
    storage: StorageSpec = StorageSpec()
    deploy: DeploySpec = DeploySpec()

    @field_validator("name", mode="before")
    @classmethod
    def explain_name(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value


D = TypeVar("D", bound=Document)


def parse(kind: type[D], content: dict[str, Any], source: str) -> D:
    """`content` as a `kind`; raises SpecError listing every problem with its place and the nearest right key."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = [_explain(kind, problem) for problem in error.errors()]
        raise SpecError("\n".join(f"{source}: {problem}" for problem in problems)) from None


def read_text(text: str, source: str) -> dict[str, Any]:
    """A YAML or JSON mapping out of `text`; `source` is named in errors."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{source}: not valid YAML or JSON: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise SpecError(f"{source}: found {found}, expected keys and values; `tlg schema` prints the format")
    return content


def apply_overrides(content: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """`--set a.b=value` on top of a document; values are read as YAML."""
    content = json.loads(json.dumps(content, default=str))
    for assignment in assignments:
        path, separator, value = assignment.partition("=")
        if not separator or not path:
            raise SpecError(f"--set {assignment}: expected key=value, for example --set run.min_score=0.6")
        node = content
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SpecError(f"--set {assignment}: `{parent}` is a value, not a group of keys")
        try:
            node[leaf] = yaml.safe_load(value)
        except yaml.YAMLError:  # `*.tif` and its like mean themselves
            node[leaf] = value
    return content


def load_annotate_spec(path: str, assignments: list[str] | None = None) -> AnnotateSpec:
    """Read a job spec file. Relative `exemplars`, `images`, `model` and `output` paths count from the file's folder."""
    from tlg import store as storage

    content = apply_overrides(read_text(storage.read_text(path), path), assignments or [])
    spec = parse(AnnotateSpec, content, path)
    return anchored(spec, storage.parent(path))


def anchored(spec: AnnotateSpec, folder: str) -> AnnotateSpec:
    """The spec with every relative path made absolute from `folder`, so that it means the same anywhere."""
    from tlg import store as storage

    def place(value: str | None) -> str | None:
        return None if value is None else storage.join(folder, value)

    model = spec.model
    if "/" in model or model.startswith("."):
        model = storage.join(folder, model)
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


def _explain(kind: type[BaseModel], problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(kind, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key '{where}' ({hint})"
    if problem["type"] == "missing":
        return f"key '{where}' is missing"
    found = problem.get("input")
    shown = f" (found {found!r})" if isinstance(found, (str, int, float, bool)) else ""
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}{shown}" if where else f"{message}{shown}"


def _known_keys(kind: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        if isinstance(part, int):
            continue
        field = kind.model_fields.get(str(part))
        if field is None:
            continue
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                kind = candidate
    return list(kind.model_fields)


def local_path(value: str) -> Path | None:
    """The path behind a local reference, None for a URI of another store."""
    if value.startswith("file://"):
        return Path(value.removeprefix("file://"))
    return None if "://" in value else Path(value)
