"""What a network is made of; written into every model folder."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class NetworkSpec(BaseModel):
    """The choices behind a `TLG`.

    `released` follows published checkpoints and reads `backbone` alone; `reading` reads `backbone`, `width`,
    `support_grid` and `names`; `repaired` reads all of them but `names`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field("resnet50", description="A name that tlg.network.backbones.registry knows, or timm/<model>")
    backbone_taps: tuple[tuple[str, ...], ...] | None = Field(
        None, description="Modules whose outputs make the pyramid, level by level; null: the backbone's own rule"
    )
    behaviour: Literal["released", "repaired", "reading"] = "repaired"
    width: int = Field(64, ge=16, multiple_of=16, description="Channels of every learnt map")
    text_dim: int = Field(512, ge=1, description="Length of the text vectors")
    support_grid: int = Field(8, ge=2, description="Each exemplar is condensed to this many cells a side")
    peers: bool = Field(
        False,
        description="The support branch matches an exemplar with its class's other shots (off: with itself alone)",
    )
    aggregation: bool = Field(True, description="HA: branches read their own backbone maps (off: ablation)")
    deep: bool = Field(
        True, description="HA reads every map, and the decoder sees what it reads (off: one map of each level)"
    )
    transport: bool = Field(True, description="HT: attention re-weighted by optimal transport (off: ablation)")
    text: bool = Field(True, description="HC: branches are modulated by text vectors (off: no text is needed)")
    prior: bool = Field(True, description="Pseudo-masks are read (off: ablation)")
    prior_trust: float = Field(
        0.75, ge=0, description="How much more answers lean on the pseudo-mask than training did: for novel classes"
    )
    names: bool = Field(False, description="What a name says of a query's places is read (off: exemplars alone)")
