"""The centre-pivot 4-D convolution: a 4-D kernel as the sum of two 2-D ones.

Shapes: B batch, C channels in, O channels out, QR query rows and columns, ST support rows and columns.
"""

from __future__ import annotations

from torch import Tensor, nn


class CenterPivotConv4d(nn.Module):
    """`conv1` runs over the query axes at every `stride`-th support position, `conv2` over the support axes."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(c_in, c_out, kernel, 1, kernel // 2)
        self.conv2 = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2)

    def forward(self, x_BCQRST: Tensor) -> Tensor:
        """(B, C, Q, R, S, T) to (B, O, Q, R, S', T') with S' = ceil(S / stride)."""
        B, C, Q, R, S, T = x_BCQRST.shape
        pivots = x_BCQRST[..., :: self.stride, :: self.stride]
        S_out, T_out = pivots.shape[-2:]
        over_query = self.conv1(pivots.permute(0, 4, 5, 1, 2, 3).reshape(-1, C, Q, R))
        over_query = over_query.view(B, S_out, T_out, -1, Q, R).permute(0, 3, 4, 5, 1, 2)
        over_support = self.conv2(x_BCQRST.permute(0, 2, 3, 1, 4, 5).reshape(-1, C, S, T))
        over_support = over_support.view(B, Q, R, -1, S_out, T_out).permute(0, 3, 1, 2, 4, 5)
        return over_query + over_support
