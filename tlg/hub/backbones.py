"""Backbones with weights in them, wherever the weights come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tlg.hub.model_file import WeightsRecord
from tlg.hub.probe import check_probe, probe
from tlg.hub.sources.registry import source_of
from tlg.hub.weights import state_dict_in
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone


def load_backbone(name: str, weights: str | None = None, taps: Sequence[Sequence[str]] | None = None) -> Backbone:
    """A frozen backbone. `weights` is an address that `tlg.hub.sources.registry` explains, None for random values."""
    backbone = build_backbone(name, taps)
    if weights is not None:
        source, address = source_of(weights, name)
        backbone.load_weights(state_dict_in(source.read(address), weights), weights)
    return backbone


def load_recorded(
    name: str, weights: str, record: WeightsRecord | None, taps: Sequence[Sequence[str]] | None = None
) -> Backbone:
    """The backbone of a model folder that leaves its weights to their publisher."""
    backbone = load_backbone(name, weights, taps)
    if record is not None:
        check_probe(backbone, record.probe, weights)
    return backbone


def record_of(backbone: Backbone, weights: str) -> WeightsRecord:
    """What a model folder keeps of the weights that the backbone was filled with."""
    source, address = source_of(weights, backbone.name)
    content = source.read(address).content
    return WeightsRecord(
        licence=source.licence(address),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        probe=probe(backbone),
    )
