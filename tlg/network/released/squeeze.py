"""The published squeeze (`hpn_learner`), laid out for speed: one pair at a time, never a permuted copy of a big tensor.

Shapes: Q, R one image's rows and columns (the query axes, which stay), S, T the other's (which are squeezed away),
P = Q * R, M maps of a level, C channels in, O channels out. Tensors are kept as (S, T, C, Q, R): a planar convolution
over the query axes is then an ordinary one with S * T as its batch, and one over the support axes is, for every output
position, a product of the kernel with the rows under it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.network.repaired.conv4d import CenterPivotConv4d
from tlg.network.repaired.correlation import resized

WIDTH = 128
# Kernels and support strides, by level counted as the published code does (2 is the finest).
SQUEEZE = {
    4: ((3, 3, 3), (2, 2, 2)),
    3: ((5, 3, 3), (4, 2, 2)),
    2: ((5, 5, 3), (4, 4, 2)),
}


def encoder(c_in: int, widths: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> nn.Sequential:
    """Centre-pivot convolutions, each followed by GroupNorm and ReLU."""
    layers: list[nn.Module] = []
    for c_out, kernel, stride in zip(widths, kernels, strides, strict=True):
        layers += [CenterPivotConv4d(c_in, c_out, kernel, stride), nn.GroupNorm(4, c_out), nn.ReLU()]
        c_in = c_out
    return nn.Sequential(*layers)


class ReleasedSqueeze(nn.Module):
    """Both correlation pyramids of a pair, each to one map on the grid of its first image."""

    def __init__(self, maps_per_level: Sequence[int]) -> None:
        super().__init__()
        finest, middle, deepest = maps_per_level
        self.encoder_layer4 = encoder(deepest, (16, 64, WIDTH), *SQUEEZE[4])
        self.encoder_layer3 = encoder(middle, (16, 64, WIDTH), *SQUEEZE[3])
        self.encoder_layer2 = encoder(finest, (16, 64, WIDTH), *SQUEEZE[2])
        self.encoder_layer4to3 = encoder(WIDTH, (WIDTH,) * 3, (3,) * 3, (1,) * 3)
        self.encoder_layer3to2 = encoder(WIDTH, (WIDTH,) * 3, (3,) * 3, (1,) * 3)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """E_q and E_s (1, 128, 50, 50) from one pair's correlations (Q, R, M, S, T) of query and support, finest first.

        As they lie, they are the support's own (its query axes are S, T); the query's start from the same numbers.
        """
        starts = ((self.encoder_layer2, 0), (self.encoder_layer3, 1), (self.encoder_layer4, 2))
        of_query = [first_block(encoder, pyramid[level]) for encoder, level in starts]
        of_support = [block(encoder, 0, pyramid[level]) for encoder, level in starts]
        return self.top_down(of_query), self.top_down(of_support)

    def top_down(self, started: Sequence[Tensor]) -> Tensor:
        x2, x3, x4 = started
        x4 = run(self.encoder_layer4, x4, skip_blocks=1)
        x3 = run(self.encoder_layer3, x3, skip_blocks=1)
        x43 = run(self.encoder_layer4to3, x3 + resized_query_axes(x4, x3))
        x2 = run(self.encoder_layer2, x2, skip_blocks=1)
        x432 = run(self.encoder_layer3to2, x2 + resized_query_axes(x43, x2))
        return x432.mean(dim=(0, 1))[None]


def resized_query_axes(x_STCQR: Tensor, like_STCQR: Tensor) -> Tensor:
    return resized(x_STCQR.flatten(0, 1), like_STCQR.shape[-2:]).unflatten(0, x_STCQR.shape[:2])


def run(layers: nn.Sequential, x_STCQR: Tensor, skip_blocks: int = 0) -> Tensor:
    for index in range(skip_blocks, len(layers) // 3):
        x_STCQR = block(layers, index, x_STCQR)
    return x_STCQR


def block(layers: nn.Sequential, index: int, x_STCQR: Tensor) -> Tensor:
    """Convolution, norm and ReLU number `index`."""
    conv: CenterPivotConv4d = layers[3 * index]  # type: ignore[assignment]
    C, Q, R = x_STCQR.shape[2:]
    pivots = x_STCQR[:: conv.stride, :: conv.stride]
    over_query = F.conv2d(pivots.reshape(-1, C, Q, R), conv.conv1.weight, both_biases(conv), padding="same")
    out_STOP = over_query.view(*pivots.shape[:2], -1, Q * R)
    if conv.stride == 1 and conv.conv2.kernel_size[0] // 2 >= max(x_STCQR.shape[:2]) - 1:
        out_STOP += all_over_support(x_STCQR, conv)
    else:
        add_over_support(out_STOP, x_STCQR.flatten(3), conv)
    return normalised(out_STOP.unflatten(3, (Q, R)), layers[3 * index + 1])  # type: ignore[arg-type]


def all_over_support(x_STCQR: Tensor, conv: CenterPivotConv4d) -> Tensor:
    """The convolution over so few support positions that each sees all of them: one product, as a 1x1 convolution."""
    S, T, C, Q, R = x_STCQR.shape
    kernel_OCKK, half = conv.conv2.weight, conv.conv2.kernel_size[0] // 2
    seen = [
        kernel_OCKK[:, :, half - s : half - s + S, half - t : half - t + T].permute(0, 2, 3, 1).reshape(-1, S * T * C)
        for s in range(S)
        for t in range(T)
    ]
    return F.conv2d(x_STCQR.reshape(1, -1, Q, R), torch.cat(seen)[:, :, None, None]).view(S, T, -1, Q * R)


def add_over_support(out_STOP: Tensor, x_STCP: Tensor, conv: CenterPivotConv4d) -> None:
    """Adds the convolution over the support axes: only the taps that meet the image are multiplied."""
    kernel_OKKC = conv.conv2.weight.permute(0, 2, 3, 1)
    taps, half = kernel_OKKC.shape[1], kernel_OKKC.shape[1] // 2
    S, T, _, P = x_STCP.shape
    for s in range(out_STOP.shape[0]):
        top = s * conv.stride - half
        rows = slice(max(top, 0), min(top + taps, S))
        for t in range(out_STOP.shape[1]):
            left = t * conv.stride - half
            columns = slice(max(left, 0), min(left + taps, T))
            under = x_STCP[rows, columns].reshape(-1, P)
            met = kernel_OKKC[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            out_STOP[s, t].addmm_(met.reshape(len(met), -1), under)


def first_block(layers: nn.Sequential, corr_QRMST: Tensor) -> Tensor:
    """`block` number 0 for correlations that lie the other way round; (S', T', O, Q, R)."""
    conv: CenterPivotConv4d = layers[0]  # type: ignore[assignment]
    Q, R, M, S, T = corr_QRMST.shape
    pivots = corr_QRMST[..., :: conv.stride, :: conv.stride].permute(3, 4, 2, 0, 1)
    over_query = F.conv2d(pivots.reshape(-1, M, Q, R), conv.conv1.weight, both_biases(conv), padding="same")
    over_support = F.conv2d(
        corr_QRMST.view(-1, M, S, T), conv.conv2.weight, stride=conv.stride, padding=conv.conv2.padding
    )
    out = over_query.unflatten(0, pivots.shape[:2])
    out = out + over_support.unflatten(0, (Q, R)).permute(3, 4, 2, 0, 1)
    return normalised(out, layers[1])  # type: ignore[arg-type]


def both_biases(conv: CenterPivotConv4d) -> Tensor:
    return conv.conv1.bias + conv.conv2.bias  # type: ignore[operator]


def normalised(x_STCQR: Tensor, norm: nn.GroupNorm) -> Tensor:
    """GroupNorm over everything but the channel groups, then ReLU."""
    planes = x_STCQR.flatten(0, 1)
    mean, variance = group_statistics(planes.flatten(2), norm.num_groups)
    per_channel = planes.shape[1] // norm.num_groups
    # With the statistics at hand the rest is what a batch norm does in eval mode, in one pass.
    scaled = F.batch_norm(
        planes,
        mean.repeat_interleave(per_channel),
        variance.repeat_interleave(per_channel),
        norm.weight,
        norm.bias,
        eps=norm.eps,
    )
    return scaled.relu_().view_as(x_STCQR)


def group_statistics(planes_NCP: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel group over all planes.

    Sums and lengths of rows are several times faster than `var_mean`; joined in float64 they lose nothing that shows.
    """
    N, C, P = planes_NCP.shape
    count = N * (C // groups) * P
    sums_NC, lengths_NC = planes_NCP.sum(dim=2).double(), torch.linalg.vector_norm(planes_NCP, dim=2).double()
    mean = sums_NC.view(N, groups, -1).sum(dim=(0, 2)) / count
    square = lengths_NC.square().view(N, groups, -1).sum(dim=(0, 2)) / count
    return mean.to(planes_NCP.dtype), (square - mean.square()).clamp(min=0).to(planes_NCP.dtype)
