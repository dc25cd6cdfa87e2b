"""HT, heterogeneous transport: attention re-weighted by an optimal-transport plan, and an unlike residual per branch.

Shapes: X pairs, D width, L tokens of the image at hand, T tokens of the exemplars, H x W the working grid.
"""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.network.repaired.correlation import resized

SINKHORN_ITERATIONS = 20
MAX_TOKEN_SIDE = 16


def sinkhorn(cost_XLT: Tensor, entropy: float, iterations: int = SINKHORN_ITERATIONS) -> Tensor:
    """The entropic transport plan between uniform marginals; its entries sum to 1.

    In the log domain, differentiable, batched, on the input's device; with costs of order one and entropy weights
    of order one half the iteration gains a digit a step or so.
    """
    L, T = cost_XLT.shape[-2:]
    log_kernel = -cost_XLT / entropy
    columns = torch.zeros_like(log_kernel[..., :1, :])
    for _ in range(iterations):
        rows = -log(L) - torch.logsumexp(log_kernel + columns, dim=-1, keepdim=True)
        columns = -log(T) - torch.logsumexp(log_kernel + rows, dim=-2, keepdim=True)
    return (log_kernel + rows + columns).exp()


class Transport(nn.Module):
    """Tokens attend to each other, then fetch from the exemplars' tokens by attention times transport plan.

    The published plan replaces the attention and its cost, one minus a softmax, is nearly constant; here the cost is
    one minus the cosine of query and key, and the plan re-weights the attention as the paper says.
    """

    ENTROPY = 0.25

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_norm = nn.LayerNorm(width)
        self.q_fc = nn.Linear(width, width, bias=False)
        self.k_fc = nn.Linear(width, width, bias=False)
        self.v_fc = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.out_norm = nn.GroupNorm(4, width)

    def plan(self, query_XLD: Tensor, key_XTD: Tensor) -> Tensor:
        """The transport plan (X, L, T) of moving the exemplars' tokens to the image's, in float32."""
        cosine = F.normalize(query_XLD.float(), dim=-1) @ F.normalize(key_XTD.float(), dim=-1).transpose(-2, -1)
        return sinkhorn(1 - cosine, self.ENTROPY)

    def forward(self, branch_XDHW: Tensor, exemplar_XTD: Tensor, residual_XDHW: Tensor) -> Tensor:
        """The branch's map with what was transported to it; the same shape."""
        X, D, H, W = branch_XDHW.shape
        side = (min(-(-H // 2), MAX_TOKEN_SIDE), min(-(-W // 2), MAX_TOKEN_SIDE))
        tokens_XLD = F.adaptive_avg_pool2d(branch_XDHW, side).flatten(2).transpose(1, 2)
        inner = self.norm(tokens_XLD)
        tokens_XLD = tokens_XLD + self.self_attention(inner, inner, inner, need_weights=False)[0]

        exemplar_XTD = self.cross_norm(exemplar_XTD)
        query, key, value = self.q_fc(self.cross_norm(tokens_XLD)), self.k_fc(exemplar_XTD), self.v_fc(exemplar_XTD)
        attention_XLT = (query @ key.transpose(-2, -1) * D**-0.5).softmax(dim=-1)
        weighted_XLT = attention_XLT * self.plan(query, key).to(attention_XLT.dtype)
        weighted_XLT = weighted_XLT / weighted_XLT.sum(dim=-1, keepdim=True)
        tokens_XLD = tokens_XLD + self.proj(weighted_XLT @ value)

        transported = resized(tokens_XLD.transpose(1, 2).reshape(X, D, *side), (H, W))
        return torch.relu(self.out_norm(transported) + residual_XDHW)
