"""A plain vision transformer as backbone, with random weights, through the annotator: one stride, any picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.annotators.sets import NAMES, exemplar_set, scene
from tlg.annotators.network import NetworkAnnotator, NetworkModel
from tlg.answers import records
from tlg.hub.folder import Model
from tlg.network.backbones.registry import build_backbone
from tlg.network.spec import NetworkSpec
from tlg.network.tlg import TLG
from tlg.pictures import Picture

VIT = "timm/vit_tiny_patch16_224"
SIZES = [(400, 400), (480, 640)]


@pytest.fixture(scope="module", params=["reading", "repaired"])
def annotator(request: pytest.FixtureRequest) -> NetworkAnnotator:
    torch.manual_seed(0)
    backbone = build_backbone(VIT)
    spec = NetworkSpec(backbone=VIT, behaviour=request.param, width=16, support_grid=6, text=False)
    network = TLG(spec, backbone).eval()
    model = Model(name="vit", digest="0", backbone=backbone, input_size=(400, 400), network=network)
    return NetworkModel(model).with_exemplars(exemplar_set())


def picture(height: int, width: int) -> Picture:
    drawn = scene([50, 0], [NAMES[0]], NAMES[0]).image
    rows, columns = np.arange(height) * len(drawn) // height, np.arange(width) * len(drawn) // width
    return Picture(np.ascontiguousarray(drawn[rows][:, columns]), height, width)


@pytest.fixture(autouse=True)
def everything_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlg.annotators.network.PRESENT", 0.0)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_picture_is_answered_at_its_own_size(annotator: NetworkAnnotator, height: int, width: int) -> None:
    (answers,) = annotator.annotate([picture(height, width)])
    assert [answer.class_name for answer in answers] == list(NAMES)
    assert {(answer.height, answer.width) for answer in answers} == {(height, width)}
    masks = [records.decode_mask(answer.rle) for answer in answers if answer.rle is not None]
    assert all(mask.shape == (height, width) for mask in masks)


def test_pictures_of_both_sizes_are_answered_together_as_alone(annotator: NetworkAnnotator) -> None:
    pictures = [picture(*size) for size in SIZES]
    assert annotator.annotate(pictures) == [annotator.annotate([single])[0] for single in pictures]
