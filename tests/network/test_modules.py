"""Laws of single modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tlg.errors import CheckpointError
from tlg.network.backbones.registry import BACKBONES, build_backbone
from tlg.network.repaired.conv4d import CenterPivotConv4d
from tlg.network.repaired.correlation import nearest, token_correlation, unit
from tlg.network.repaired.transport import Transport, sinkhorn
from tlg.network.support import cells_per_side, condense


@pytest.mark.parametrize(("L", "T", "entropy"), [(50, 50, 0.5), (169, 64, 0.25), (7, 20, 0.25)])
def test_transport_marginals_are_uniform(L: int, T: int, entropy: float) -> None:
    cost = 2 * torch.rand(3, L, T, generator=torch.Generator().manual_seed(0))
    plan = sinkhorn(cost, entropy)
    torch.testing.assert_close(L * plan.sum(dim=-1), torch.ones(3, L), rtol=0, atol=1e-4)
    torch.testing.assert_close(T * plan.sum(dim=-2), torch.ones(3, T), rtol=0, atol=1e-4)
    assert (plan >= 0).all()


def test_transport_prefers_what_is_cheap_and_is_differentiable() -> None:
    cost = torch.ones(1, 4, 4) - torch.eye(4)
    cost.requires_grad_()
    plan = sinkhorn(cost, 0.1)
    assert torch.allclose(plan[0].diagonal(), torch.full((4,), 0.25), atol=1e-3)
    plan[0, 0, 1].backward()
    assert cost.grad.abs().sum() > 0


def test_the_plan_of_the_module_is_uniform_for_unlike_sides() -> None:
    torch.manual_seed(0)
    plan = Transport(32).plan(torch.randn(2, 30, 32), torch.randn(2, 12, 32))
    torch.testing.assert_close(30 * plan.sum(dim=-1), torch.ones(2, 30), rtol=0, atol=1e-4)
    torch.testing.assert_close(12 * plan.sum(dim=-2), torch.ones(2, 12), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 2), (3, 2, 5), (5, 4, 9), (5, 4, 6), (3, 1, 4)])
def test_the_pivot_convolution_is_two_planar_ones(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(0)
    conv = CenterPivotConv4d(3, 5, kernel, stride)
    x = torch.randn(2, 3, 6, 7, side, side)
    got = conv(x)
    assert got.shape[-2:] == (-(-side // stride),) * 2
    for s in range(got.shape[-1]):
        # At one position of one image each planar convolution is an ordinary one over the other image.
        over_query = F.conv2d(x[..., s * stride, 0], conv.conv1.weight, conv.conv1.bias, padding=kernel // 2)
        over_support = F.conv2d(x[:, :, 1, 2], conv.conv2.weight, conv.conv2.bias, stride, kernel // 2)
        expected = over_query[:, :, 1, 2] + over_support[:, :, s, 0]
        torch.testing.assert_close(got[:, :, 1, 2, s, 0], expected, rtol=1e-4, atol=1e-5)


def test_condensed_tokens_read_only_what_their_mask_shows() -> None:
    map_1CHW = torch.zeros(1, 2, 8, 8)
    map_1CHW[:, 0, :, :4] = 1
    map_1CHW[:, 1, :, 4:] = 1
    left = torch.zeros(1, 1, 8, 8)
    left[..., :4] = 1
    tokens = condense([map_1CHW], left, grid=4)
    assert tokens.foreground_mass.view(4, 4)[0].tolist() == [1, 1, 0, 0]
    assert tokens.background_mass.view(2, 2)[0].tolist() == [0, 1]
    cosines = token_correlation(map_1CHW, tokens.foreground[0])
    likeness = nearest(cosines, tokens.foreground_mass, torch.tensor(20.0), shots=1)
    assert likeness[0, 0, 0] > 0.9 > 0.75 > likeness[0, 0, 7]


def test_cells_do_not_grow_with_shots() -> None:
    assert [cells_per_side(8, shots) for shots in (1, 5, 20, 80)] == [8, 8, 4, 2]
    assert [cells_per_side(12, shots) for shots in (1, 5, 20, 80)] == [12, 12, 6, 3]


def test_unit_vectors_have_unit_length() -> None:
    lengths = unit(torch.randn(2, 16, 3, 3), dim=1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in BACKBONES.ours if name != "timm"])
def test_a_backbone_keeps_its_promises(name: str) -> None:
    backbone = build_backbone(name).train()
    assert not any(module.training for module in backbone.modules())
    maps = backbone(torch.randn(2, 3, 64, 96))
    assert [one.shape[1] for one in maps] == list(backbone.channels)
    for one, stride in zip(maps, backbone.strides, strict=True):
        assert one.shape[-2:] == (64 // stride, 96 // stride)
    # Raw maps are taken before the activation, and no later layer has written over them.
    assert all(
        one.min() < 0 for index, one in enumerate(maps) if (name, index) not in {("vgg16", 6), ("mobilenet_v2", 6)}
    )
    assert len(backbone.levels) == 3


def test_the_tiny_backbone_is_tiny() -> None:
    assert sum(one.numel() for one in build_backbone("tiny").parameters()) < 1_500_000


def test_an_unknown_backbone_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"unknown backbone 'resnet18'.*: expected one of resnet50"):
        build_backbone("resnet18")
