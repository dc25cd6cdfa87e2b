"""What a training or an evaluation config may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tlg.datasets.sources import Benchmark, Source
from tlg.documents import Document
from tlg.evidence.text_encoder import TextSpec
from tlg.network.spec import NetworkSpec
from tlg.training.pseudo_masks import PseudoMaskSpec


class DataSpec(Document):
    """Base photographs: of the benchmark's fold, and of further collections."""

    benchmark: Benchmark
    fold: Annotated[str, BeforeValidator(str)] = Field("0", description="`all` trains one fold after the other")
    more: list[Source] = Field([], description="Further collections, all of whose classes are base classes")
    more_share: float = Field(0.5, ge=0, le=1, description="Share of episodes drawn from `more`")
    surroundings: list[str] = Field([], description="Classes such as grass or sky, rarely the target")
    surroundings_share: float = Field(0.15, ge=0, le=1)
    min_area: float = Field(0.02, ge=0, le=1, description="A class covers at least this share of a training view")
    collage_share: float = Field(0.0, ge=0, le=1, description="Share of views that two photographs share")
    augment: bool = Field(False, description="Mirrored, cropped and recoloured views (the published recipe has none)")
    held_out: float = Field(0.1, gt=0, lt=1, description="Share of base photographs kept to choose the best checkpoint")


class CacheSpec(Document):
    """Frozen features of a fixed number of views per photograph, kept on disk: pays on a CPU."""

    folder: Path
    variants: int = Field(6, ge=1, description="Views per photograph; needs `augment` above 1")


class LossSpec(Document):
    query: float = Field(1.4, ge=0)
    support: float = Field(0.6, ge=0)
    dice: float = Field(0.0, ge=0, description="Weight of the Dice loss beside the cross-entropy, in both branches")
    objectness: float | None = Field(
        None, ge=0, description="Weight of finding any object without exemplars; None: a half where the network does"
    )
    norms: float = Field(1e-4, ge=0, description="Weight of the sum of the parameters' L2 norms")


class OptimSpec(Document):
    """The published recipe by default."""

    epochs: int = Field(80, ge=1)
    steps_per_epoch: int | None = Field(None, ge=1, description="None: as many batches as the base photographs make")
    batch_size: int = Field(16, ge=1, description="Episodes of one step over all processes")
    lr: float = Field(4e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(0, ge=0, description="Steps over which the learning rate rises")
    average: float = Field(0.0, ge=0, lt=1, description="Decay of the running mean of the weights that is saved")


class ValidationSpec(Document):
    every: int = Field(1, ge=1, description="Epochs between two validations")
    episodes: int = Field(200, ge=1)


class TrainSpec(Document):
    """One training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    out: Path = Field(
        description="Receives best/ and last/ models, state.pt, metrics.jsonl, tensorboard/; {fold} is the fold"
    )
    data: DataSpec
    network: NetworkSpec = NetworkSpec()
    backbone_weights: str | None = Field(
        "imagenet", description="Path, URI, package:<distribution>, hf://, `timm` or `imagenet`"
    )
    input_size: int = Field(400, ge=64)
    shots: int = Field(1, ge=1)
    supervision: Literal["image", "pixel"] = Field(
        "image", description="`pixel` gives the support's true mask as its prior (for pixel-labelled baselines)"
    )
    pseudo_masks: PseudoMaskSpec | None = Field(
        None, description="Read from files, as `tlg prior --dataset` writes them; None: made on the fly"
    )
    text: TextSpec | None = Field(None, description="Where class names get their vectors, where the network reads text")
    prior_skipped: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of episodes without pseudo-masks, so that the network also learns to do without;"
        " None: a half for the repaired network, none for the released one, which cannot do without",
    )
    text_skipped: float = Field(0.0, ge=0, le=1, description="Share of steps without text: classes it does not know")
    loss: LossSpec = LossSpec()
    optim: OptimSpec = OptimSpec()
    validation: ValidationSpec = ValidationSpec()
    cache: CacheSpec | None = None
    half: bool = Field(True, description="bfloat16 for the frozen backbone, and on GPUs for the rest (AMP)")
    device: str | None = Field(None, description="None: a GPU if there is one")
    seed: int = 0


Part = Literal["names", "own maps", "second look", "glance", "extent", "reach"]


class EvaluateSpec(Document):
    """One evaluation: every fold and number of shots asked for."""

    benchmark: Source
    model: str = Field("", description="Model folder or name; `{fold}` stands for the fold")
    method: Literal[
        "tlg",
        "prior",
        "all_foreground",
        "prototypes",
        "tlg_true_masks",
        "tlg_boxes",
        "tlg_points",
        "pixel",
        "swapped",
        "swapped_true_masks",
    ] = Field(
        "tlg",
        description="`tlg_true_masks` and `pixel` read the supports' true masks; `pixel` (for networks trained so)"
        " without a pseudo-mask of the query. `tlg_boxes` and `tlg_points` read a box around, or a point on, every"
        " part of the supports' true masks. `swapped` is `tlg` asked with the exemplars of another class:"
        " the less of the right class it marks, the more the exemplars are read",
    )
    reading: bool = Field(
        False, description="Answers once more with another class's exemplars; `reading` is the right mIoU minus that"
    )
    without: Part | None = Field(
        None,
        description="Ablation of a `reading` network: the names' evidence, what is taken for the class in exemplars"
        " without a drawing, the second look at the query, the glance before it, the class's size as the exemplars have"
        " it, or how far pictures say that the class reaches is left out",
    )
    folds: list[str] | None = Field(None, description="None: all of them")
    shots: list[int] = Field([1, 5], min_length=1)
    episodes: int | None = Field(None, ge=1, description="None: the published number, or all of a file")
    seed: int = 0
    mirrored: bool = Field(False, description="Answers are the mean of the query's and its mirror image's")
    out: Path | None = Field(None, description="Where the JSON report goes")
    cache: Path | None = Field(None, description="Folder that keeps the photographs' features for other evaluations")
    device: str | None = None
