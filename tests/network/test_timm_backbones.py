"""Backbones of timm, and of other packages: the rule for maps, their own choice, and what a pass gives."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import outside
from tlg.errors import CheckpointError
from tlg.network.backbones import quick_imports
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import BACKBONES, build_backbone
from tlg.network.features import Features

VIT, CNN = "timm/vit_tiny_patch16_224", "timm/tf_efficientnet_lite2"

# In a process of its own: the compiler stays loaded.
COMPILER_PROGRAM = f"""
import sys
import torch
from tlg.network.backbones.registry import build_backbone
loaded = lambda: "torch._dynamo" in sys.modules
disable = torch.compiler.disable
build_backbone("{CNN}"), build_backbone("resnet50")
print(loaded(), torch.compiler.disable is disable)
from timm.models import naflexvit
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
made = naflexvit.NaFlexRopeIterator.__next__
print(hasattr(made, "__wrapped__"))
print(asked is torch._dynamo.utils.is_compile_supported("cpu"), loaded())
"""


@pytest.fixture(scope="module")
def vit() -> Backbone:
    torch.manual_seed(0)
    return build_backbone(VIT)


@pytest.fixture(scope="module")
def cnn() -> Backbone:
    torch.manual_seed(0)
    return build_backbone(CNN)


def test_a_convolutional_network_gives_both_ends_of_every_run_of_blocks_and_what_its_classifier_reads(
    cnn: Backbone,
) -> None:
    assert cnn.channels == (48, 48, 88, 88, 120, 120, 208, 208, 352, 1280)
    assert cnn.strides == (8, 8, 16, 16, 16, 16, 32, 32, 32, 32)
    assert cnn.levels == ((0, 1), (2, 3, 4, 5), (6, 7, 8, 9))


def test_a_transformer_gives_early_middle_and_late_maps_of_one_stride(vit: Backbone) -> None:
    assert (set(vit.channels), set(vit.strides)) == ({192}, {16})
    assert vit.levels == ((0, 1), (2, 3), (4, 5))


def test_where_the_last_block_is_what_the_classifier_reads_it_comes_once() -> None:
    backbone = build_backbone("timm/resnet18")
    assert backbone.channels == (128, 128, 256, 256, 512, 512)


@pytest.mark.parametrize("name", [VIT, CNN])
@pytest.mark.parametrize("size", [(400, 400), (480, 640), (50, 33)])
def test_any_size_gives_maps_of_the_promised_form(
    name: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    backbone = request.getfixturevalue("vit" if name == VIT else "cnn")
    with torch.inference_mode():
        features = backbone.encode(torch.randn(1, 3, *size))
    assert features.size == size
    assert [one.shape[1] for one in features.maps] == list(backbone.channels)
    for one, stride in zip(features.maps, backbone.strides, strict=True):
        for cells, pixels in zip(one.shape[-2:], size, strict=True):
            assert abs(cells - pixels / stride) < 1
        assert one.isfinite().all()


def test_normalisation_belongs_to_the_backbone(cnn: Backbone) -> None:
    """EfficientNet-Lite was trained on (x - 127) / 128 of bytes."""
    bytes_3HW = torch.randint(0, 256, (3, 8, 8)).float()
    mean, std = (torch.tensor(of)[:, None, None] for of in (Backbone.mean, Backbone.std))
    torch.testing.assert_close(cnn.as_trained(((bytes_3HW / 255 - mean) / std)[None])[0], (bytes_3HW - 127) / 128)


def test_imagenet_normalised_images_reach_other_backbones_untouched() -> None:
    images = torch.randn(1, 3, 8, 8)
    assert build_backbone("tiny").as_trained(images) is images


def test_the_descriptor_is_the_class_token_or_the_mean_of_the_deepest_map(vit: Backbone, cnn: Backbone) -> None:
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = vit.encode(images)
        assert torch.equal(vit.descriptor(features), vit.trunk.forward_features(vit.as_trained(images))[:, 0])
        of_cnn = cnn.encode(images)
    torch.testing.assert_close(cnn.descriptor(of_cnn), of_cnn.maps[-1].mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_the_classifier_answers_as_the_whole_model_does(name: str, request: pytest.FixtureRequest) -> None:
    backbone = request.getfixturevalue(name)
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        features = backbone.encode(images)
        torch.testing.assert_close(
            backbone.classify(features), backbone.trunk(backbone.as_trained(images)), rtol=1e-4, atol=1e-5
        )
        maps = backbone.class_maps(features)
    assert maps.shape == (2, 1000, *features.maps[-1].shape[-2:])
    assert len(backbone.class_names) == 1000
    assert backbone.class_names[0].startswith("tench")


def test_the_mean_of_class_maps_is_the_class_of_the_mean(cnn: Backbone) -> None:
    with torch.inference_mode():
        features = cnn.encode(torch.randn(1, 3, 96, 96))
        torch.testing.assert_close(
            cnn.class_maps(features).mean(dim=(2, 3)), cnn.classify(features), rtol=1e-4, atol=1e-5
        )


def test_a_backbone_without_a_classifier_says_so() -> None:
    backbone = build_backbone("tiny")
    assert backbone.class_names == ()
    with pytest.raises(CheckpointError, match="'tiny' has no classifier"):
        backbone.classify(backbone.encode(torch.randn(1, 3, 64, 64)))


def test_taps_of_ones_own_replace_the_rule() -> None:
    backbone = build_backbone("timm/resnet18", taps=[["layer1.1", "layer2.0"], ["layer3.1"]])
    assert backbone.channels == (64, 128, 256, 512)
    assert backbone.levels == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("name", "taps", "message"),
    [
        ("timm/resnet19", None, "no model 'resnet19'; the nearest are .*resnet18|no model 'resnet19'"),
        ("timm/resnet18", [["layer9.0"], ["layer3.0"]], "no module 'layer9.0' to tap; the nearest are layer"),
        ("timm/resnet18", [["layer2.0"]], "needs taps of two levels or more"),
        ("timm/swin_tiny_patch4_window7_224", None, "a convolutional network or a plain vision transformer"),
        ("timm/vit_small_patch14_dinov", None, "vit_small_patch14_dinov2"),
        ("tiny", [["a"], ["b"]], "takes no taps"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_way_out(name: str, taps: list | None, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build_backbone(name, taps)


def test_copies_give_the_same_maps_and_do_not_mix_with_the_original(vit: Backbone) -> None:
    twin = copy.deepcopy(vit)
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        for one, other in zip(vit(images), twin(images), strict=True):
            assert torch.equal(one, other)


TOY = """
from torch import nn

from tlg.network.backbones.backbone import Backbone


class Toy(Backbone):
    '''A backbone as another package would write it.'''

    name = "toy"
    channels, strides = (4, 8), (4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 8, 2, 2)

    def forward(self, images_B3HW) -> list:
        fine = self.fine(images_B3HW)
        return [fine, self.coarse(fine)]
"""


def test_another_package_adds_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside.install(tmp_path, monkeypatch, "toy_backbone", TOY, {BACKBONES.group: ["toy = toy_backbone:Toy"]})
    backbone = build_backbone("toy")
    assert isinstance(backbone.encode(torch.randn(1, 3, 32, 32)), Features)
    assert not any(one.requires_grad for one in backbone.parameters())
    assert "toy" in BACKBONES.names()


def test_torch_s_compiler_is_loaded_when_somebody_needs_it() -> None:
    told = subprocess.run([sys.executable, "-c", COMPILER_PROGRAM], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True", "True", "True", "True"]


def test_what_is_kept_from_the_compiler_stays_kept_from_it() -> None:
    asked = []

    def disable(function, recursive=True, *, reason=None):
        asked.append((function, recursive, reason))
        return function

    plain = quick_imports._disabled(disable, len)
    chosen = quick_imports._disabled(disable, recursive=False, reason="why")(max)
    assert not asked
    assert [plain("ab"), plain("abc"), chosen(1, 2)] == [2, 3, 2]
    assert asked == [(len, True, None), (max, False, "why")]
