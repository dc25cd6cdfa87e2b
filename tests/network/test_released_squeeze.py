"""The published squeeze in its fast layout computes what it does in the plain one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.released.head import level_correlation, quick_correlation
from tlg.network.released.squeeze import block, encoder, first_block
from tlg.network.repaired.correlation import unit

# (kernel, stride, support side): the 2 x 2 and 1 x 1 supports are those that every position sees whole.
CASES = [(3, 2, 7), (5, 4, 13), (3, 1, 4), (3, 1, 2), (5, 1, 2), (3, 1, 1)]


def layer(kernel: int, stride: int) -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers = encoder(4, [8], [kernel], [stride])
    torch.nn.init.normal_(layers[1].weight)
    torch.nn.init.normal_(layers[1].bias)
    return layers


def plainly(layers: torch.nn.Sequential, corr_1CQRST: Tensor) -> Tensor:
    """(S', T', O, Q, R)"""
    return layers(corr_1CQRST)[0].permute(3, 4, 0, 1, 2)


@pytest.mark.parametrize(("kernel", "stride", "side"), CASES)
@torch.inference_mode()
def test_a_block_is_convolution_norm_and_relu(kernel: int, stride: int, side: int) -> None:
    layers, corr_1CQRST = layer(kernel, stride), torch.randn(1, 4, 6, 5, side, side)
    expected = plainly(layers, corr_1CQRST)
    torch.testing.assert_close(block(layers, 0, corr_1CQRST[0].permute(3, 4, 0, 1, 2).contiguous()), expected)
    torch.testing.assert_close(first_block(layers, corr_1CQRST[0].permute(1, 2, 0, 3, 4).contiguous()), expected)


@torch.inference_mode()
def test_the_quick_correlation_is_the_correlation() -> None:
    torch.manual_seed(0)
    query, support = ([unit(torch.randn(16, side, side), 0) for _ in range(3)] for side in (5, 7))
    expected = level_correlation(query, support, [0, 1, 2])
    side_by_side = torch.cat(query)[None].contiguous(memory_format=torch.channels_last)
    kernels_MPC = torch.stack([one.flatten(1).T for one in support])
    torch.testing.assert_close(quick_correlation(side_by_side, kernels_MPC), expected)
    assert expected.shape == (5, 5, 3, 7, 7)
    assert F.relu(expected).equal(expected)
